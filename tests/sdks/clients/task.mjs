// What a client script is told on its standard input, and the one line that it prints.
import { readFileSync } from "node:fs";

const task = JSON.parse(readFileSync(0, "utf8"));
export const URL = task.url;
export const WAY = task.way; // how the conversation is carried from one request to the next
export const SYSTEM = task.system;
export const QUESTIONS = task.questions;
export const KEY = "none";
export const PARAMETERS = {
  type: "object",
  properties: { city: { type: "string" }, unit: { type: "string" } },
  required: ["city", "unit"],
  additionalProperties: false,
};
export const TOOL = {
  type: "function",
  name: "get_weather",
  description: "The weather in a city.",
  parameters: PARAMETERS,
  strict: true,
};

export function getWeather({ city, unit }) {
  return `${city}: 7 degrees ${unit}, light rain`;
}

// Hold both conversations and print the answers; then, where that is asked for, what each of
// `more` returns.
export async function run(converse, more = {}) {
  const said = {};
  for (const [name, model] of Object.entries(task.models)) {
    said[name] = await converse(model, name === "stream");
  }
  for (const [name, ask] of Object.entries(task.more ? more : {})) said[name] = await ask();
  console.log(JSON.stringify(said));
}
