/**
 * The API, typed by its own OpenAPI document (schema.d.ts is generated).
 *
 *     const { data } = useQuery({ queryKey: ["models"], queryFn: () => ask(api.GET("/v1/models")) });
 */
import createClient, { type Middleware } from "openapi-fetch";
import { readKey } from "./key";
import type { paths } from "./schema";

/** The server refused: its own words, and the field that they are about. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null = null,
    readonly code: string | null = null,
  ) {
    super(message);
  }
}

/** The server could not be reached, or went away in the middle of an answer. */
export class CutError extends Error {
  constructor() {
    super("the connection to the server was cut");
  }
}

export function authorization(): Record<string, string> {
  const key = readKey();
  return key ? { authorization: `Bearer ${key}` } : {};
}

const identify: Middleware = {
  onRequest({ request }) {
    for (const [name, value] of Object.entries(authorization())) request.headers.set(name, value);
    return request;
  },
};

export const api = createClient<paths>({
  fetch: (request) => reach(() => fetch(request)),
  querySerializer: (query) => new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString(),
});
api.use(identify);

/** The answer's data. Throws ApiError or CutError. */
export async function ask<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await asked;
  if (!response.ok) throw refusal(response.status, error);
  return data as T;
}

/** An answer that the client above can't read: a stream, a file. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...authorization(), ...(init.headers as Record<string, string> | undefined) };
  const response = await reach(() => fetch(path, { ...init, headers }));
  if (!response.ok) throw refusal(response.status, await response.json().catch(() => null));
  return response;
}

async function reach(asked: () => Promise<Response>): Promise<Response> {
  try {
    return await asked();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new CutError();
  }
}

export function refusal(status: number, body: unknown): ApiError {
  const error = (body as { error?: { message?: string; param?: string | null; code?: string | null } } | null)?.error;
  return new ApiError(status, error?.message ?? `the server answered ${status}`, error?.param, error?.code);
}
