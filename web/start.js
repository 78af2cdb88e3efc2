// The page's policy forbids inline scripts, hence this file.
import init from "./anaume-web.js";

await init();
