// What the server says, as it says it.

/** The events of a stream of server-sent events, as [name, data]; data is JSON. */
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let received = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    received += value;
    const events = received.split("\n\n");
    received = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
      yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

/** An answer that is an error: `status`, and how many seconds to wait before asking again. */
export class ServerError extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.detail || "The server gave no reason.");
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export async function post(endpoint, fields, { accept = "application/json", key = "", signal } = {}) {
  const headers = { "Content-Type": "application/json", Accept: accept };
  if (key) {
    headers.Authorization = `Bearer ${key}`;
  }
  const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify(fields), signal });
  if (!response.ok) {
    const problem = await response.json().catch(() => null);
    throw new ServerError(response.status, problem, Number(response.headers.get("Retry-After")) || 1);
  }
  return response;
}

/** Translate, and yield ["prefix" | "sentence" | "done", data]; a server that does not stream says "done" at once. */
export async function* translation(endpoint, fields, options) {
  const response = await post(endpoint, fields, { ...options, accept: "text/event-stream" });
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    yield ["done", await response.json()];
    return;
  }
  for await (const [name, data] of eventsOf(response.body)) {
    if (name === "error") {
      throw new ServerError(data.status, data, 1);
    }
    yield [name, data];
  }
}

/** What a person is told of an error. */
export function inWords(error) {
  const unreachable = error instanceof TypeError || error instanceof SyntaxError;
  return unreachable ? "The server cannot be reached. Is it still running?" : error.message;
}
