// Searches nonces for the challenge page. Runs in a worker; also on the page itself where workers fail.
//
// In SHA-256 or, where the job brings its module, in HashWX (at the end).
//
// A hash is SHA-256 of one block: seed (8 words), index, nonce (high and low word), padding. Within a search only the
// low word changes, so the first ten of the 64 rounds are done once. The others are done for four nonces at a time in
// WebAssembly, assembled below and about seven times as fast, or in plain JavaScript where that is not to be had.
"use strict";

const K = new Int32Array(64);
const IV = new Int32Array(8);
{
  // FIPS 180-4: the fractional parts of the cube (square) roots of the first 64 (8) primes.
  const fraction = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
  for (let n = 2, found = 0; found < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) prime = prime && n % d !== 0;
    if (!prime) continue;
    if (found < 8) IV[found] = fraction(Math.sqrt(n));
    K[found++] = fraction(Math.cbrt(n));
  }
}
const HIGH = 9; // the words of the block that hold the nonce
const LOW = 10;

// Rounds `from` to `to` - 1 on the eight words of `state`, the result in `out`. `w`: 64 words, the block in the first 16.
function rounds(from, to, state, w, out) {
  let a = state[0], b = state[1], c = state[2], d = state[3];
  let e = state[4], f = state[5], g = state[6], h = state[7];
  for (let t = from; t < to; t++) {
    if (t > 15) {
      const x = w[t - 15];
      const y = w[t - 2];
      w[t] = (((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)) + w[t - 7]
        + (((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)) + w[t - 16];
    }
    const one = (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7)))
      + (g ^ (e & (f ^ g))) + h + K[t] + w[t] | 0;
    const two = (((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10)))
      + ((a & b) | (c & (a | b))) | 0;
    h = g; g = f; f = e; e = d + one | 0;
    d = c; c = b; b = a; a = one + two | 0;
  }
  out[0] = a; out[1] = b; out[2] = c; out[3] = d; out[4] = e; out[5] = f; out[6] = g; out[7] = h;
}

// SHA-256 of an ASCII string, as eight words.
function sha256(text) {
  const state = IV.slice();
  const out = new Int32Array(8);
  const size = (text.length + 9 + 63) & ~63;
  const bytes = new DataView(new ArrayBuffer(size));
  for (let i = 0; i < text.length; i++) bytes.setUint8(i, text.charCodeAt(i));
  bytes.setUint8(text.length, 0x80);
  bytes.setUint32(size - 4, text.length * 8);
  const w = new Int32Array(64);
  for (let at = 0; at < size; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = bytes.getInt32(at + 4 * i);
    rounds(0, 64, state, w, out);
    for (let i = 0; i < 8; i++) state[i] += out[i];
  }
  return state;
}

// One sub-puzzle: which of the nonces from high * 2^32 + low on, up to `count`, has a hash below the target?
class Puzzle {
  constructor(seed, index, high, target) {
    this.w = new Int32Array(64);
    this.w.set(seed);
    this.w[8] = index;
    this.w[HIGH] = high;
    this.w[11] = 0x80000000; // padding: one bit, zeros, the length of 44 bytes in bits
    this.w[15] = 44 * 8;
    this.middle = new Int32Array(8); // the state before the round that takes the low word
    rounds(0, LOW, IV, this.w, this.middle);
    this.out = new Int32Array(8);
    this.targetHigh = parseInt(target.slice(0, 8), 16);
    this.targetLow = parseInt(target.slice(8), 16);
  }

  meets(low) {
    this.w[LOW] = low;
    rounds(LOW, 64, this.middle, this.w, this.out);
    const first = (this.out[0] + IV[0]) >>> 0;
    if (first !== this.targetHigh) return first < this.targetHigh;
    return (this.out[1] + IV[1]) >>> 0 < this.targetLow;
  }

  // The low word found, or -1.
  search(low, count) {
    return fast === null ? this.searchPlain(low, count) : this.searchFast(low, count);
  }

  searchPlain(low, count) {
    for (let n = low; n < low + count; n++) if (this.meets(n)) return n;
    return -1;
  }

  // WebAssembly compares the first word only, so what it finds is looked at again here.
  searchFast(low, count) {
    fast.input.set(this.w.subarray(0, 16), 0);
    fast.input.set(this.middle, 16);
    fast.input[24] = this.targetHigh;
    for (let n = low, left = Math.ceil(count / 4); left > 0; ) {
      const rest = fast.search(n, left); // groups of four left when one was found, that one included; 0: none found
      if (rest === 0) return -1;
      n += 4 * (left - rest);
      for (let lane = n; lane < n + 4; lane++) if (this.meets(lane)) return lane;
      n += 4;
      left = rest - 1;
    }
    return -1;
  }
}

// Assembles search(low, groups): i32 -> i32 over an exported memory that holds w (16 words), the state before round 10
// (8 words) and the first word of the target. Each 128-bit value holds one word of four hashes. Fully unrolled; the
// eight working variables change names instead of places.
function assemble() {
  const leb = (n) => { const out = []; do { out.push((n & 127) | (n > 127 ? 128 : 0)); n >>>= 7; } while (n); return out; };
  const simd = (op) => [0xfd, ...leb(op)];
  const get = (local) => [0x20, local];
  const set = (local) => [0x21, local];
  const tee = (local) => [0x22, local];
  const small = (n) => [0x41, n]; // i32.const, n < 64
  const word = (a, b = a, c = a, d = a) => [...simd(12), ...new Uint8Array(Int32Array.of(a, b, c, d).buffer)];
  const splat = simd(17), and = simd(78), xor = simd(81), select = simd(82), any = simd(83);
  const shl = simd(171), shr = simd(173), add = simd(174), atMost = simd(62);
  const load = (at) => [...small(0), ...simd(9), 2, ...leb(4 * at)]; // one word of the memory into all four places
  const turned = (x, n) => [...get(x), ...small(n), ...shr, ...get(x), ...small(32 - n), ...shl, ...xor];
  const sigma = (x, p, q, r) => [...turned(x, p), ...turned(x, q), ...xor, ...turned(x, r), ...xor];
  const gamma = (x, p, q, r) => [...turned(x, p), ...turned(x, q), ...xor, ...get(x), ...small(r), ...shr, ...xor];

  const low = 0, left = 1; // parameters; then 26 locals of 128 bits
  let [a, b, c, d, e, f, g, h] = [2, 3, 4, 5, 6, 7, 8, 9];
  const w = (t) => 10 + (t & 15);
  let ab = 26, bc = 27; // a ^ b of this round is b ^ c of the next
  const code = [];
  const emit = (...parts) => { for (const part of parts) code.push(...part); };

  emit([0x03, 0x40]); // loop
  for (let i = 0; i < 8; i++) emit(load(16 + i), set(2 + i));
  for (let i = 0; i < 16; i++) if (i !== LOW) emit(load(i), set(w(i)));
  emit(get(low), splat, word(0, 1, 2, 3), add, set(w(LOW)));
  emit(get(b), get(c), xor, set(bc));
  for (let t = LOW; t < 64; t++) {
    if (t > 15) {
      emit(get(w(t)), gamma(w(t - 15), 7, 18, 3), add, get(w(t - 7)), add, gamma(w(t - 2), 17, 19, 10), add, set(w(t)));
    }
    emit(get(w(t)), word(K[t]), add, get(h), add, get(f), get(g), get(e), select, add, sigma(e, 6, 11, 25), add, set(h));
    emit(get(d), get(h), add, set(d));
    emit(get(a), get(b), xor, tee(ab), get(bc), and, get(b), xor, get(h), add, sigma(a, 2, 13, 22), add, set(h));
    [ab, bc] = [bc, ab];
    [a, b, c, d, e, f, g, h] = [h, a, b, c, d, e, f, g];
  }
  emit(get(a), word(IV[0]), add, load(24), atMost, any);
  emit([0x04, 0x40], get(left), [0x0f, 0x0b]); // if any: return left
  emit(get(low), small(4), [0x6a], set(low)); // low += 4
  emit(get(left), small(1), [0x6b], tee(left), [0x0d, 0], [0x0b]); // repeat while --left
  emit(small(0), [0x0b]);

  const vector = (items) => [...leb(items.length), ...items.flat()];
  const sized = (bytes) => [...leb(bytes.length), ...bytes];
  const name = (text) => sized([...text].map((letter) => letter.charCodeAt(0)));
  const section = (id, items) => [id, ...sized(vector(items))];
  const body = sized([...vector([[26, 0x7b]]), ...code]); // 26 locals of type v128
  const bytes = Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [[0x60, 2, 0x7f, 0x7f, 1, 0x7f]]), // type: (i32, i32) -> i32
    ...section(3, [[0]]), // one function of that type
    ...section(5, [[0, 1]]), // one page of memory
    ...section(7, [[...name("search"), 0, 0], [...name("memory"), 2, 0]]),
    ...section(10, [body]),
  ]);
  const { search, memory } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  return { search, input: new Int32Array(memory.buffer, 0, 25) };
}

let fast; // null: no WebAssembly, none with SIMD, or not allowed here
function begin() {
  try {
    fast = assemble();
  } catch {
    fast = null;
  }
}

// HashWX: a WebAssembly module writes a function for every 4096 nonces, which is compiled here.
const NONCES = 4096;

class Functions {
  constructor(bytes) {
    const exports = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
    exports._initialize();
    this.exports = exports;
    this.context = exports.hashwx_alloc(1); // 1: to be compiled
    this.registers = exports.hashwx_registers(this.context);
    this.room = exports.hashwx_memory(this.context);
    this.made = "";
    this.run = null;
  }

  make(seed, index, block) {
    const name = [seed.join(), index, block].join();
    if (name === this.made) return;
    const w = new Int32Array(64);
    w.set(seed);
    w.set([index, Math.floor(block / 2 ** 32), block, 0x80000000], 8);
    w[15] = 44 * 8;
    const hash = new Int32Array(8);
    rounds(0, 64, IV, w, hash);
    const { exports, context } = this;
    const at = exports.hashwx_seed(context);
    const memory = new DataView(exports.memory.buffer);
    for (let i = 0; i < 8; i++) memory.setInt32(at + 4 * i, hash[i] + IV[i]);
    exports.hashwx_make(context, at);
    const code = new Uint8Array(exports.memory.buffer, exports.hashwx_module(context), exports.hashwx_module_size(context));
    this.run = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory: exports.memory } }).exports.exec;
    this.made = name;
  }

  search(seed, index, nonce, count, target) {
    const { hashwx_exec_begin: begin, hashwx_exec_final: end } = this.exports;
    const below = BigInt(`0x${target}`);
    for (let n = nonce; n < nonce + count; n++) {
      if (n === nonce || n % NONCES === 0) this.make(seed, index, Math.floor(n / NONCES));
      begin(this.context, BigInt(n));
      this.run(this.registers, this.room);
      if (BigInt.asUintN(64, end(this.context)) < below) return n;
    }
    return -1;
  }
}

let functions = null;

const seeds = new Map(); // token -> its hash; a page has one token, or a few when it stays open long

// Does one job: {token, index, nonce, count, target}, nonce and count multiples of 4 within one high word; in HashWX
// also {module}, its bytes.
function work(job) {
  let seed = seeds.get(job.token);
  if (seed === undefined) seeds.set(job.token, (seed = sha256(job.token)));
  if (job.module) {
    functions ??= new Functions(job.module);
    return functions.search(seed, job.index, job.nonce, job.count, job.target);
  }
  if (fast === undefined) begin();
  const high = Math.floor(job.nonce / 2 ** 32);
  const found = new Puzzle(seed, job.index, high, job.target).search(job.nonce % 2 ** 32, job.count);
  return found < 0 ? -1 : high * 2 ** 32 + found;
}

if (typeof WorkerGlobalScope === "undefined") {
  globalThis.shieldWork = work;
} else {
  onmessage = ({ data: job }) => postMessage(work(job));
}
