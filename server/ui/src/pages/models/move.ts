import { useMutation, useQueryClient } from "@tanstack/react-query";
import { api, ask } from "../../api/client";
import { probe } from "./probe";

interface Move {
  alias: string;
  /** None: the one that it meant before. */
  model: string | null;
  force: string | null;
}

/** Lets an alias mean another model, at once; then asks it who answers. */
export function useMove(done: () => void) {
  const queries = useQueryClient();
  const readAgain = () => Promise.all(["registry", "aliases", "models"].map((name) => queries.invalidateQueries({ queryKey: [name] })));
  return useMutation({
    mutationFn: ({ alias, model, force }: Move) => {
      const params = { path: { alias } };
      return ask(model === null ? api.POST("/v1/aliases/{alias}/rollback", { params }) : api.POST("/v1/aliases/{alias}/promote", { params, body: { model, force } }));
    },
    async onSuccess(moved) {
      done();
      await readAgain();
      await queries.prefetchQuery(probe(moved));
    },
    onError: readAgain,
  });
}
