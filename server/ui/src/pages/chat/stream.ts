/** Server-sent events of a streamed answer, one `data:` at a time. */
import { CutError } from "../../api/client";

/** Yields each event's data; ends with `[DONE]`. Throws CutError if the stream ends before that. */
export async function* events(response: Response): AsyncGenerator<string> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw error instanceof DOMException && error.name === "AbortError" ? error : new CutError();
    });
    if (done) throw new CutError();
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop()!;
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue; // a keep-alive
      const data = part.slice("data: ".length);
      if (data === "[DONE]") return;
      yield data;
    }
  }
}
