// The page and its worker start here; the page's policy forbids inline scripts.
import init from "./anaume-web.js";

await init();
