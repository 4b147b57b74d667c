// The Vercel AI SDK; its version is the first argument.
import { KEY, PARAMETERS, QUESTIONS, SYSTEM, URL, WAY, getWeather, run } from "./task.mjs";

const version = process.argv[2];
const { generateText, isStepCount, jsonSchema, stepCountIs, streamText, tool } = await import(
  `ai-${version}`
);
const { createOpenAI } = await import(`ai-${version}-openai`);
const openai = createOpenAI({ baseURL: URL, apiKey: KEY });

const WAYS = {
  defaults: {},
  "defaults, reasoning model": { forceReasoning: true },
  "store false": { store: false },
  "store false, reasoning model": { store: false, forceReasoning: true },
};

async function converse(model, streams) {
  const asked = {
    model: openai(model),
    tools: {
      get_weather: tool({
        description: "The weather in a city.",
        inputSchema: jsonSchema(PARAMETERS),
        execute: getWeather,
      }),
    },
    stopWhen: (isStepCount ?? stepCountIs)(5),
    providerOptions: { openai: WAYS[WAY] },
    [version === "6" ? "system" : "instructions"]: SYSTEM,
  };
  const messages = [];
  const answers = [];
  for (const content of QUESTIONS) {
    messages.push({ role: "user", content });
    const result = await (streams ? streamText : generateText)({ ...asked, messages });
    if (streams) await result.consumeStream({ onError: (error) => { throw error; } });
    answers.push(await result.text);
    messages.push(...((await result.responseMessages) ?? (await result.response).messages));
  }
  return answers;
}

await run(converse);
