/** Who is signed in: the key that every page asks with, and what it may do. */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext } from "react";
import { ApiError, api, ask } from "../api/client";
import { forgetKey, keepKey } from "../api/key";
import type { Key } from "../api/types";
import { Failure, Loading } from "../parts/states";
import { SignIn } from "./SignIn";

const Session = createContext<Key | null>(null);

/** The key of whoever is signed in. */
export function useKey(): Key {
  const key = useContext(Session);
  if (!key) throw new Error("useKey is for what stands inside of SignedIn");
  return key;
}

/** Shows its children to whoever has a key that the server takes, or needs none. */
export function SignedIn({ children }: { children: ReactNode }) {
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ["key"],
    queryFn: () => ask(api.GET("/v1/key")),
    staleTime: Infinity,
  });
  const signIn = (key: string) => {
    keepKey(key);
    return refetch();
  };
  if (isPending) return <Loading what="the server" />;
  if (error instanceof ApiError && error.status === 401) return <SignIn onKey={signIn} />;
  if (error) return <Failure error={error} retry={refetch} />;
  return <Session.Provider value={data}>{children}</Session.Provider>;
}

/** Forgets the key and everything that was read with it. */
export function useSignOut(): () => void {
  const queries = useQueryClient();
  return () => {
    forgetKey();
    queries.clear();
    location.replace("/");
  };
}
