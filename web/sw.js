// Keeps the page's own files, so that the page opens without its server. Models are kept elsewhere, results not at all.
// web/build.sh writes in which build this is and which files it has.
const CACHE = "anaume-@VERSION@";
const FILES = "@FILES@".split(" ");
const INDEX = "site.json";

const addressOf = (name) => new URL(name, self.registration.scope).href;
const kept = new Set(["", ...FILES].map(addressOf));

// Asked again from the server, which answers that nothing changed where that is so.
self.addEventListener("install", (event) => event.waitUntil((async () => {
  const cache = await caches.open(CACHE);
  await cache.addAll(["./", ...FILES].map((name) => new Request(addressOf(name), { cache: "no-cache" })));
})()));

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  const others = (await caches.keys()).filter((name) => name.startsWith("anaume-") && name !== CACHE);
  await Promise.all(others.map((name) => caches.delete(name)));
  await self.clients.claim();
})()));

// A newer version waits until the reader takes it.
self.addEventListener("message", (event) => event.data === "take over" && self.skipWaiting());

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = address.hash = "";
  if (event.request.method !== "GET") return;
  if (kept.has(address.href)) {
    event.respondWith(fromCache(event.request, address.href));
  } else if (address.href === addressOf(INDEX)) {
    event.respondWith(fromServer(event.request, address.href));
  }
});

async function fromCache(request, address) {
  return (await caches.match(address, { cacheName: CACHE })) ?? fetch(request);
}

async function fromServer(request, address) {
  try {
    const response = await fetch(request);
    if (response.ok) await (await caches.open(CACHE)).put(address, response.clone());
    return response;
  } catch (cause) {
    const earlier = await caches.match(address, { cacheName: CACHE });
    if (earlier) return earlier;
    throw cause;
  }
}
