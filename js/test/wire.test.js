import { describe, expect, test } from "vitest";
import { decodeIncoming, decodeOutgoing, encodeCancel, encodeRequest } from "../src/wire/codec.js";
import { fixture } from "./helpers/graph.js";

const messages = fixture("messages");

describe("the messages that Python's tests read too", () => {
  test.each(messages)("$direction: $description", ({ direction, message, valid }) => {
    const decode = direction === "to-browser" ? decodeIncoming : decodeOutgoing;
    if (valid) expect(decode(message)).toEqual(message);
    else expect(decode(message)).toBeNull();
  });
});

test("what is encoded is what the kernel reads", () => {
  const request = encodeRequest("a", "expand", { layer: 3, revision: 1 });
  expect(decodeOutgoing(JSON.parse(JSON.stringify(request)))).toEqual(request);
  expect(decodeOutgoing(encodeCancel("a"))).toEqual({ kind: "visit-cancel", id: "a" });
});

test("what the kernel adds to an envelope is left behind", () => {
  const message = { kind: "visit-progress", id: "a", done: 1, total: 2, extra: "x" };
  expect(decodeIncoming(message)).not.toHaveProperty("extra");
});
