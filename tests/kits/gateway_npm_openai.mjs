// The cases of the npm package `openai`; see tests/gateway_clients.py. Arguments: the case, and the base URL.
import assert from "node:assert/strict";
import OpenAI from "openai";

const [name, baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "llmcore-00000000-of-a-client", maxRetries: 0 });
const model = "fast";
const messages = [{ role: "user", content: "Hello" }];
const answer = "This is a simulated answer to: Hello";
const pixel =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const tool = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};
const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"], additionalProperties: false };
const ask = (fields = {}) => client.chat.completions.create({ model, messages, ...fields });

const cases = {
  chat: async () => assert.equal((await ask()).choices[0].message.content, answer),
  stream: async () => {
    let text = "";
    for await (const chunk of await ask({ stream: true })) text += chunk.choices[0]?.delta.content ?? "";
    assert.equal(text, answer);
  },
  tools: async () => assert.equal((await ask({ tools: [tool] })).choices[0].message.tool_calls[0].function.name, "weather"),
  structured: async () => {
    const response_format = { type: "json_schema", json_schema: { name: "city", schema, strict: true } };
    assert.deepEqual(JSON.parse((await ask({ response_format })).choices[0].message.content), { name: "Oslo" });
  },
  images: async () => {
    const content = [
      { type: "text", text: "What is this?" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${pixel}` } },
    ];
    assert.ok((await ask({ messages: [{ role: "user", content }] })).choices[0].message.content);
  },
  embeddings: async () => {
    const found = await client.embeddings.create({ model: "embed", input: ["One", "Two"] });
    assert.deepEqual(found.data.map((each) => each.embedding.length), [1536, 1536]);
  },
  error: () => assert.rejects(ask({ messages: [] }), OpenAI.BadRequestError),
  429: () => assert.rejects(ask(), (error) => error instanceof OpenAI.RateLimitError && error.headers.get("retry-after") === "7"),
  models: async () => {
    const ids = [];
    for await (const found of client.models.list()) ids.push(found.id);
    assert.ok(ids.includes(model));
  },
  "wrong key": () => assert.rejects(ask(), OpenAI.AuthenticationError),
};
await cases[name]();
