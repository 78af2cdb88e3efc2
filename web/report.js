// The end of the script of a report: what the page would ask a server for is in the file itself.

/** The bytes of base64 of gzip, unpacked as they are read. */
function unpacked(base64) {
  const length = 1 << 16;
  let from = 0;
  const packed = new ReadableStream({
    pull(controller) {
      if (from >= base64.length) return controller.close();
      const piece = atob(base64.slice(from, from + length));
      controller.enqueue(Uint8Array.from(piece, (letter) => letter.charCodeAt(0)));
      from += length;
    },
  });
  return packed.pipeThrough(new DecompressionStream("gzip"));
}

globalThis.fetch = async (name) => {
  const element = document.querySelector(`script[data-file="${CSS.escape(name)}"]`);
  if (element === null) return new Response(null, { status: 404 });
  return new Response(unpacked(element.textContent), { headers: { "Content-Type": element.dataset.type } });
};

await __wbg_init({ module_or_path: fetch("page_bg.wasm") });
// From here on the program shows what the readable version has shown until now.
document.querySelector("main.readable").remove();
const [readable, style] = document.querySelectorAll("style");
readable.media = "not all";
style.media = "all";
