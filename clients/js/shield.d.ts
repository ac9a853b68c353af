/** What a caller will do for one pass. */
export interface Budget {
  /** Seconds of searching (default: 10). What would take twice as long is refused at once. */
  seconds?: number;
  /** At most 2^bits hashes, as expected (default: any number). */
  bits?: number;
  /** Seconds of waiting, in all, for one call (default: 60). */
  wait?: number;
  /** Workers that search at the same time (default: one per core). */
  workers?: number;
}

/** How far a search is. `left`: seconds that it will take on, as expected. */
export interface Progress {
  solved: number;
  k: number;
  hashes: number;
  seconds: number;
  left: number;
}

export interface Challenge {
  token: string;
  k: number;
  /** 16 hexadecimal digits. */
  target: string;
  hashes?: number;
  answerTo?: string;
}

export type Code = "too_expensive" | "not_understood" | "turned_down" | "no_worker";

/** No pass has been got. `reason`: the site's word for why it did not take the answer. */
export class ShieldError extends Error {
  constructor(code: Code, text: string, reason?: string);
  readonly code: Code;
  readonly reason: string;
}

/** The passes of origins ("https://site.example:443"); may be shared. In a browser the cookie is used instead. */
export class Passes {
  get(origin: string): { pass: string; header: string } | undefined;
  keep(origin: string, bought: { pass: string; header: string; lifetime: number }): void;
  drop(origin: string, shown: { pass: string } | undefined): void;
}

/** The challenge in a problem document that came from this address; null when there is none in it. ShieldError. */
export function readChallenge(problem: unknown, from: string): Required<Challenge> | null;

/** The nonces of a challenge. ShieldError above the budget; the signal's reason when it is aborted. */
export function solve(
  challenge: Challenge,
  options?: { budget?: Budget; signal?: AbortSignal; progress?: (progress: Progress) => void },
): Promise<number[]>;

/** A fetch that solves what it is asked to. ShieldError above the budget. */
export function shieldFetch(options?: {
  fetch?: typeof fetch;
  budget?: Budget;
  passes?: Passes;
  progress?: (progress: Progress) => void;
}): typeof fetch;
