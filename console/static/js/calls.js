// Calls of a page to the console: JSON, with the session's CSRF token. What failed is told by one kind of error.

export class CallError extends Error {
  constructor(status, reason, text) {
    super(text);
    this.status = status; // 0: the console itself could not be reached
    this.reason = reason;
  }

  // Whether the same call may pass later: nobody has judged what it says. A service or proxy failed, or has too much to do,
  // or a proxy refused it in the console's place, which says so in its own words.
  get away() {
    return this.status === 0 || this.status === 429 || this.status >= 500 || this.reason === "AWAY";
  }

  // Whether this page's session is over; the page that is loaded after signing in again may say the same.
  get ended() {
    return this.status === 401 || this.reason === "EARLIER_SIGN_IN";
  }
}

export function caller(base, csrf) {
  return async function call(path, content, { timeout = 20_000, keepalive = false } = {}) {
    let response;
    try {
      response = await fetch(`${base}/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/json", "x-csrf-token": csrf },
        body: JSON.stringify(content),
        keepalive,
        redirect: "error",
        signal: AbortSignal.timeout(timeout),
      });
    } catch {
      throw new CallError(0, "AWAY", "The console does not answer.");
    }
    let told;
    try {
      told = await response.json();
    } catch {
      throw new CallError(response.ok ? 0 : response.status, "AWAY", "The console's answer can't be read.");
    }
    if (!response.ok) {
      const error = told?.error;
      if (typeof error !== "object" || error === null) {
        throw new CallError(response.status, "AWAY", "Something between refused this.");
      }
      throw new CallError(response.status, error.reason ?? "", error.text ?? "The console refused this.");
    }
    return told;
  };
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
