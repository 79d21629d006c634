// The cases of the Vercel AI SDK; see tests/gateway_clients.py. Arguments: the case, and the base URL.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

const [name, baseURL] = process.argv.slice(2);
const apiKey = "llmcore-00000000-of-a-client";
const provider = createOpenAICompatible({ name: "llmcore", baseURL, apiKey, supportsStructuredOutputs: true });
const model = provider("fast");
const prompt = "Hello";
const maxRetries = 0;
const answer = "This is a simulated answer to: Hello";
const pixel =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const weather = tool({ description: "The weather", inputSchema: z.object({ city: z.string() }) });
const fails = (status, call) =>
  assert.rejects(call, (error) => APICallError.isInstance(error) && error.statusCode === status);

const cases = {
  chat: async () => assert.equal((await generateText({ model, prompt, maxRetries })).text, answer),
  stream: async () => {
    let text = "";
    const result = streamText({ model, prompt, maxRetries });
    for await (const piece of result.textStream) text += piece;
    assert.equal(text, answer);
    assert.equal(await result.finishReason, "stop");
  },
  tools: async () => {
    const result = await generateText({ model, prompt, tools: { weather }, maxRetries });
    assert.deepEqual(result.toolCalls[0].input, { city: "Oslo" });
  },
  structured: async () => {
    const schema = z.object({ name: z.string() });
    assert.deepEqual((await generateObject({ model, schema, prompt, maxRetries })).object, { name: "Oslo" });
  },
  images: async () => {
    const content = [
      { type: "text", text: "What is this?" },
      { type: "image", image: pixel, mediaType: "image/png" },
    ];
    assert.ok((await generateText({ model, messages: [{ role: "user", content }], maxRetries })).text);
  },
  embeddings: async () => {
    const found = await embedMany({ model: provider.textEmbeddingModel("embed"), values: ["One", "Two"], maxRetries });
    assert.deepEqual(found.embeddings.map((each) => each.length), [1536, 1536]);
  },
  error: () => fails(404, generateText({ model: provider("none"), prompt, maxRetries })),
  429: () => fails(429, generateText({ model, prompt, maxRetries })),
  models: async () => {
    const listed = await (await fetch(`${baseURL}/models`)).json();
    assert.ok(listed.data.some((found) => found.id === "fast"));
  },
  "wrong key": () => fails(401, generateText({ model, prompt, maxRetries })),
};
await cases[name]();
