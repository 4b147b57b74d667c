// openai-node, used directly: its typed methods, its streams and its WebSocket.
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import OpenAI, { NotFoundError } from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { ResponsesWS } from "openai/resources/responses/ws";
import { z } from "zod";
import { KEY, QUESTIONS, SYSTEM, TOOL, URL, WAY, getWeather, run } from "./task.mjs";

const client = new OpenAI({ baseURL: URL, apiKey: KEY });

async function create(socket, streams, asked) {
  if (socket) {
    socket.send({ type: "response.create", ...asked });
    for await (const { type, message, error } of socket) {
      if (type === "error") throw error;
      if (type !== "message") continue;
      if (message.type === "response.completed") return message.response;
      assert.notEqual(message.type, "response.failed");
    }
  }
  if (!streams) return client.responses.create(asked);
  let text = "";
  const stream = client.responses.stream(asked);
  stream.on("response.output_text.delta", (event) => (text += event.delta));
  const response = await stream.finalResponse();
  assert.equal(response.output_text, text);
  return response;
}

const textOf = (response) =>
  response.output.flatMap((item) => item.content ?? []).map((part) => part.text).join("");

const resultsOf = (response) =>
  response.output
    .filter((item) => item.type === "function_call")
    .map((item) => ({
      type: "function_call_output",
      call_id: item.call_id,
      output: getWeather(JSON.parse(item.arguments)),
    }));

// The client keeps the items and sends all of them each time.
async function items(model, streams) {
  const asked = { model, instructions: SYSTEM, tools: [TOOL], store: false };
  const history = [];
  const answers = [];
  for (const content of QUESTIONS) {
    let added = [{ role: "user", content }];
    let response;
    while (added.length) {
      history.push(...added);
      response = await create(null, streams, { ...asked, input: history });
      history.push(...response.output);
      added = resultsOf(response);
    }
    answers.push(textOf(response));
  }
  return answers;
}

// The bridge keeps the conversation: only what is new is sent.
async function previousId(model, streams, socket) {
  const asked = { model, instructions: SYSTEM, tools: [TOOL] };
  if (socket) asked.store = false;
  const answers = [];
  for (const content of QUESTIONS) {
    let input = [{ role: "user", content }];
    let response;
    while (input.length) {
      response = await create(socket, streams, { ...asked, input });
      asked.previous_response_id = response.id;
      input = resultsOf(response);
    }
    answers.push(textOf(response));
  }
  return answers;
}

async function webSocket(model, streams) {
  const socket = new ResponsesWS(client);
  try {
    return await previousId(model, streams, socket);
  } finally {
    socket.close();
  }
}

// An answer in the form of a schema.
async function parsed() {
  const weather = z.object({ city: z.string(), degrees: z.number().int() });
  const format = zodTextFormat(weather, "weather");
  const asked = { model: "parsing", input: "The weather?", text: { format }, store: false };
  const response = await client.responses.parse(asked);
  const streamed = await client.responses.stream(asked).finalResponse();
  return [response.output_parsed, streamed.output_parsed];
}

// How many tokens a prompt would have.
async function counted() {
  const asked = { model: "parsing", input: "The weather?" };
  return (await client.responses.inputTokens.count(asked)).input_tokens > 0;
}

// A conversation goes on from its summary.
async function compacted() {
  const model = "compacting";
  const input = [{ role: "user", content: "The weather?" }];
  const { output } = await client.responses.compact({ model, input });
  const more = [...output, { role: "user", content: "And tomorrow?" }];
  return textOf(await client.responses.create({ model, input: more, store: false }));
}

// What the bridge keeps of a response, until it is deleted.
async function stored() {
  const response = await client.responses.create({ model: "stored", input: "The weather?" });
  const same = await client.responses.retrieve(response.id);
  const items = await client.responses.inputItems.list(response.id);
  await client.responses.delete(response.id);
  const gone = await client.responses.retrieve(response.id).catch((error) => error);
  return {
    same: textOf(same) === textOf(response) && same.id === response.id,
    items: items.data.flatMap((item) => item.content).map((part) => part.text),
    gone: gone instanceof NotFoundError,
  };
}

// A response that is made while nobody waits for it, and its events from the second one on.
async function background() {
  const asked = { model: "stored", input: "The weather?", background: true };
  let response = await client.responses.create(asked);
  while (["queued", "in_progress"].includes(response.status)) {
    await setTimeout(50);
    response = await client.responses.retrieve(response.id);
  }
  const events = await client.responses.retrieve(response.id, { stream: true, starting_after: 0 });
  const numbers = [];
  for await (const event of events) numbers.push(event.sequence_number);
  return {
    text: textOf(response),
    events: numbers.every((number, n) => number === n + 1),
    cancelled: (await client.responses.cancel(response.id)).status,
  };
}

if (WAY === "items") await run(items, { parsed, counted, compacted });
else if (WAY === "previous id") await run(previousId, { stored, background });
else await run(webSocket);
