// Asks the API. A question that is asked anew ends the one before.

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

/** Whether the API wants a token that this browser has not. */
export const isLockedOut = signal(false);

let underWay = 0;

/** Whether an answer is still to come: asked anew each time, a slow one would never be seen. */
export const isAsking = () => underWay > 0;

/** What the API answered instead, as a sentence. */
export class Refusal extends Error {
  /**
   * @param {string} message
   * @param {number} status of HTTP; 0 where there was no answer
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * The address of a question; what is empty is left out.
 * @param {string} path
 * @param {Record<string, string | number>} parameters
 */
export function url(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "");
  const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return given.length ? `${path}?${query}` : path;
}

/**
 * The answer of the API, as JSON; throws `Refusal`.
 * @param {string} address
 * @param {AbortSignal} [signal]
 * @param {RequestInit} [request] where it is no GET
 * @returns {Promise<any>}
 */
export async function ask(address, signal, request = {}) {
  let response, text;
  underWay += 1;
  try {
    response = await fetch(address, { ...request, signal: signal ?? null });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal("Logwax does not answer: is the pipeline still running?", 0);
  } finally {
    underWay -= 1;
  }
  const answer = parsed(text);
  if (response.ok) return answer;
  if (response.status === 401) isLockedOut.value = true;
  throw new Refusal(answer?.detail ?? `The API answered ${response.status}.`, response.status);
}

/** @param {string} text @returns {any} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's page, perhaps
  }
}

/**
 * @template T
 * @typedef {{ data: T | null, error: Refusal | null, isLoading: boolean }} Answer
 */

/**
 * The answer to a question, the old one until the new one is there; null asks nothing.
 * @template T
 * @param {string | null} address
 * @param {unknown} [turn] ask again when this changes
 * @returns {Answer<T>}
 */
export function useAnswer(address, turn) {
  const [answer, setAnswer] = useState(
    /** @type {Answer<any>} */ ({ data: null, error: null, isLoading: true }),
  );
  useEffect(() => {
    if (address === null) return;
    const asking = new AbortController();
    setAnswer((old) => ({ ...old, isLoading: true }));
    ask(address, asking.signal).then(
      (data) => setAnswer({ data, error: null, isLoading: false }),
      (error) => {
        if (asking.signal.aborted) return;
        // A question that was wrong, perhaps half typed, clears nothing.
        setAnswer((old) => ({ data: error.status === 422 ? old.data : null, error, isLoading: false }));
      },
    );
    return () => asking.abort();
  }, [address, turn]);
  return answer;
}
