/** Tasks to begin with: each names the families of tools that it needs. */
export const EXAMPLES: { text: string; tools: string[] }[] = [
  { text: "What is the capital of France?", tools: [] },
  { text: "How many programs in /usr/bin start with z?", tools: ["bash"] },
  { text: "How many tracks does the database hold?", tools: ["sql"] },
];
