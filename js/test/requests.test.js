import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createRequestClient, isVoid, RequestError } from "../src/wire/requests.js";

/** A channel whose other end the test plays. */
function createChannel() {
  const channel = {
    sent: [],
    dead: false,
    listener: null,
    send(message) {
      if (channel.dead) throw new Error("comm is closed");
      channel.sent.push(message);
    },
    onMessage(listener) {
      channel.listener = listener;
      return () => {
        channel.listener = null;
      };
    },
    succeed: (request, result) =>
      channel.listener({ kind: "visit-response", id: request.id, ok: true, result }),
    fail: (request, message) =>
      channel.listener({
        kind: "visit-response",
        id: request.id,
        ok: false,
        error: { type: "ValueError", message },
      }),
  };
  return channel;
}

let channel;
let client;
beforeEach(() => {
  vi.useFakeTimers();
  channel = createChannel();
  client = createRequestClient(channel);
});
afterEach(() => vi.useRealTimers());

describe("replies", () => {
  test("go to the request that they answer, in whatever order they come", async () => {
    const three = client.request("expand", { layer: 3, revision: 1 });
    const four = client.request("expand", { layer: 4, revision: 1 });
    const [askedThree, askedFour] = channel.sent;
    channel.succeed(askedFour, "four");
    channel.succeed(askedThree, "three");
    expect(await three).toBe("three");
    expect(await four).toBe("four");
  });

  test("that are failures carry the kernel's sentence", async () => {
    const asked = client.request("expand", { layer: 3, revision: 1 });
    channel.fail(channel.sent[0], "Layer 3 is not there.");
    await expect(asked).rejects.toMatchObject({
      type: "ValueError",
      message: "Layer 3 is not there.",
    });
  });

  test("for somebody else, or malformed, are passed over", async () => {
    const asked = client.request("expand", { layer: 3, revision: 1 });
    channel.succeed({ id: "somebody-elses" }, "no");
    channel.listener({ kind: "visit-response", id: channel.sent[0].id, ok: "yes" });
    channel.listener("hello");
    channel.succeed(channel.sent[0], "mine");
    expect(await asked).toBe("mine");
  });

  test("that the params decide are kept; failures and new prompts are not", async () => {
    const first = client.request("expand", { layer: 3, revision: 1 });
    channel.succeed(channel.sent[0], "block");
    await first;
    expect(await client.request("expand", { layer: 3, revision: 1 })).toBe("block");
    expect(channel.sent).toHaveLength(1);
    void client.request("expand", { layer: 3, revision: 2 }).catch(() => {});
    expect(channel.sent).toHaveLength(2);

    const failing = client.request("expand", { layer: 5, revision: 1 });
    channel.fail(channel.sent[2], "no");
    await failing.catch(() => {});
    void client.request("expand", { layer: 5, revision: 1 }).catch(() => {});
    expect(channel.sent).toHaveLength(4);

    const traced = client.request("retrace", { prompt: "a" });
    channel.succeed(channel.sent[4], { revision: 2 });
    await traced;
    void client.request("retrace", { prompt: "a" });
    expect(channel.sent).toHaveLength(6);
  });
});

test("an audit is kept for its graph, and called off by an abort", async () => {
  const control = new AbortController();
  const off = client.request("audit", { revision: 1 }, { signal: control.signal });
  control.abort();
  expect(isVoid(await off.catch((reason) => reason))).toBe(true);
  expect(channel.sent[1]).toEqual({ kind: "visit-cancel", id: channel.sent[0].id });
  const asked = client.request("audit", { revision: 1 });
  channel.succeed(channel.sent[2], "audit");
  await asked;
  expect(await client.request("audit", { revision: 1 })).toBe("audit");
  expect(channel.sent).toHaveLength(3);
  void client.request("audit", { revision: 2 }).catch(() => {});
  expect(channel.sent).toHaveLength(4);
});

describe("a later request of the same topic", () => {
  test("makes the earlier one void, tells the kernel, and drops its late reply", async () => {
    const first = client.request("project", { nodes: ["a"], revision: 1 });
    const second = client.request("project", { nodes: ["b"], revision: 1 });
    const [askedFirst, cancel, askedSecond] = channel.sent;
    expect(cancel).toEqual({ kind: "visit-cancel", id: askedFirst.id });
    const error = await first.catch((reason) => reason);
    expect(isVoid(error)).toBe(true);
    channel.succeed(askedFirst, "late");
    channel.succeed(askedSecond, "right");
    expect(await second).toBe("right");
  });

  test("that is already answered still makes it void", async () => {
    const known = client.request("project", { nodes: ["a"], revision: 1 });
    channel.succeed(channel.sent[0], "a");
    await known;
    const waiting = client.request("project", { nodes: ["b"], revision: 1 });
    expect(await client.request("project", { nodes: ["a"], revision: 1 })).toBe("a");
    expect(isVoid(await waiting.catch((reason) => reason))).toBe(true);
  });

  test("is another topic for another layer", () => {
    void client.request("expand", { layer: 3, revision: 1 });
    void client.request("expand", { layer: 4, revision: 1 });
    expect(channel.sent.map(({ kind }) => kind)).toEqual(["visit-request", "visit-request"]);
  });
});

describe("a kernel that is slow", () => {
  test("is reported after a while, and waited for", async () => {
    const onSilence = vi.fn();
    const asked = client.request("expand", { layer: 3, revision: 1 }, { onSilence });
    vi.advanceTimersByTime(19_999);
    expect(onSilence).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onSilence).toHaveBeenLastCalledWith(true);
    channel.succeed(channel.sent[0], "at last");
    expect(await asked).toBe("at last");
    expect(onSilence).toHaveBeenLastCalledWith(false);
  });

  test("is not silent while it tells how far it is", () => {
    const onSilence = vi.fn();
    const onProgress = vi.fn();
    void client.request("expand", { layer: 3, revision: 1 }, { onSilence, onProgress });
    vi.advanceTimersByTime(15_000);
    channel.listener({ kind: "visit-progress", id: channel.sent[0].id, done: 1, total: 3 });
    vi.advanceTimersByTime(15_000);
    expect(onProgress).toHaveBeenCalledWith(1, 3);
    expect(onSilence).not.toHaveBeenCalled();
  });
});

describe("a kernel that is gone", () => {
  test("makes a request fail with a sentence, at once", async () => {
    channel.dead = true;
    const error = await client
      .request("expand", { layer: 3, revision: 1 })
      .catch((reason) => reason);
    expect(error).toBeInstanceOf(RequestError);
    expect(error.message).toMatch(/cannot be reached.*Run the cell again/);
  });

  test("does not trip over a cancel", async () => {
    const first = client.request("project", { nodes: ["a"], revision: 1 });
    channel.dead = true;
    void client.request("project", { nodes: ["b"], revision: 1 }).catch(() => {});
    expect(isVoid(await first.catch((reason) => reason))).toBe(true);
  });
});

test("an aborted request is cancelled, and only once", async () => {
  const control = new AbortController();
  const asked = client.request("vocabulary", { query: "k" }, { signal: control.signal });
  control.abort();
  control.abort();
  expect(isVoid(await asked.catch((reason) => reason))).toBe(true);
  expect(channel.sent.filter(({ kind }) => kind === "visit-cancel")).toHaveLength(1);
});

test("a destroyed client listens no more and leaves no promise waiting", async () => {
  const asked = client.request("expand", { layer: 3, revision: 1 });
  client.destroy();
  expect(isVoid(await asked.catch((reason) => reason))).toBe(true);
  expect(channel.listener).toBeNull();
  expect(vi.getTimerCount()).toBe(0);
});
