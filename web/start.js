// The page and its worker start here; the page's policy forbids inline scripts.
const program = globalThis.document ? "page" : "worker";
const { default: init } = await import(`./${program}.js`);

await init();
