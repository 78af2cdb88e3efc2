// A server of models that can be told to misbehave, and a stand-in for the Hub.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const types = { html: "text/html", js: "text/javascript", css: "text/css", wasm: "application/wasm", json: "application/json" };

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/**
 * Serves `files` (path → bytes). What `manners` says by then holds for paths of weights:
 * cut (bytes after which the connection breaks, once), slow (bytes a 20 ms), corrupt (one bit of another value), ranges
 * (false: forgotten), tag (ETag), cors (false: none), status (of every answer).
 * `log` has every request, with how many bytes of content were sent.
 */
export async function modelServer(files, manners = {}) {
  const log = [];
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://x").pathname).slice(1);
    const entry = { path, method: request.method, range: request.headers.range, ifRange: request.headers["if-range"], sent: 0 };
    log.push(entry);
    if (manners.cors !== false) {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("access-control-expose-headers", "ETag, Content-Range");
    }
    const file = files[path];
    if (typeof file === "string" && file.startsWith("http")) return response.writeHead(302, { location: file }).end();
    if (manners.status || file === undefined) return response.writeHead(manners.status ?? 404).end();
    // An answer under way keeps its manners; it breaks off once.
    const { ...now } = path.endsWith(".safetensors") ? manners : {};
    await send(request, response, file, now, entry, () => delete manners.cut);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  return { origin, log, files, manners, stop: () => { server.closeAllConnections(); server.close(); } };
}

async function send(request, response, file, manners, entry, wasCut) {
  const content = Buffer.from(file);
  if (manners.corrupt) content[content.length - 5] ^= 1;
  const tag = manners.tag ?? `"${sha256(content).slice(0, 16)}"`;
  const asked = manners.ranges === false ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const isStale = request.headers["if-range"] !== undefined && request.headers["if-range"] !== tag;
  const [start, end] = asked && !isStale ? [Number(asked[1]), asked[2] ? Number(asked[2]) + 1 : content.length] : [0, content.length];
  const type = types[(entry.path || "index.html").split(".").at(-1)];
  if (type) response.setHeader("content-type", type);
  response.setHeader("etag", tag);
  response.setHeader("content-length", end - start);
  if (asked && !isStale) response.setHeader("content-range", `bytes ${start}-${end - 1}/${content.length}`);
  response.writeHead(asked && !isStale ? 206 : 200);
  if (request.method === "HEAD") return response.end();
  // A request for one byte asks for the size.
  const isProbe = request.headers.range === "bytes=0-0";
  const step = manners.slow ?? 65536;
  for (let at = start; at < end && !response.destroyed; at += step) {
    const piece = content.subarray(at, Math.min(at + step, end));
    if (!isProbe && manners.cut !== undefined && at + piece.length > manners.cut) {
      wasCut();
      // What was written before arrives first.
      await new Promise((done) => setTimeout(done, 100));
      return response.destroy();
    }
    if (!isProbe) entry.sent += piece.length;
    await new Promise((done) => response.write(piece, done));
    if (manners.slow && !isProbe) await new Promise((done) => setTimeout(done, 20));
  }
  response.end();
}

/** The files of the Hub for one repository: its description, and each file behind a redirect to another host. */
export function hubFiles(repository, commit, files, elsewhere, revision = "main") {
  const sibling = ([rfilename, bytes]) => ({
    rfilename,
    size: bytes.length,
    blobId: createHash("sha1").update(bytes).digest("hex"),
    ...(rfilename.endsWith(".safetensors") ? { lfs: { sha256: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {}),
  });
  const description = { id: repository, sha: commit, siblings: Object.entries(files).map(sibling) };
  const resolved = Object.keys(files).map((name) => [`${repository}/resolve/${commit}/${name}`, `${elsewhere}/${name}`]);
  return { [`api/models/${repository}/revision/${revision}`]: JSON.stringify(description), ...Object.fromEntries(resolved) };
}

/** The weights of a model in shards of about equal size, with their index, as Hugging Face writes them. */
export function sharded(weights, count) {
  const length = Number(weights.readBigUInt64LE(0));
  const { __metadata__, ...tensors } = JSON.parse(weights.subarray(8, 8 + length));
  const names = Object.keys(tensors).sort((one, other) => tensors[one].data_offsets[0] - tensors[other].data_offsets[0]);
  const files = {}, weightMap = {};
  for (let shard = 0; shard < count; shard++) {
    const file = `model-${String(shard + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.safetensors`;
    const header = { __metadata__ }, parts = [];
    let at = 0;
    for (const name of names.slice(Math.floor(shard * names.length / count), Math.floor((shard + 1) * names.length / count))) {
      const { data_offsets: [start, end], ...rest } = tensors[name];
      header[name] = { ...rest, data_offsets: [at, at += end - start] };
      parts.push(weights.subarray(8 + length + start, 8 + length + end));
      weightMap[name] = file;
    }
    // The content begins at a multiple of eight bytes.
    const text = JSON.stringify(header);
    const padded = Buffer.from(text.padEnd(Math.ceil(Buffer.byteLength(text) / 8) * 8));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(padded.length));
    files[file] = Buffer.concat([prefix, padded, ...parts]);
  }
  files["model.safetensors.index.json"] = Buffer.from(JSON.stringify({ metadata: {}, weight_map: weightMap }));
  return files;
}
