import { useQuery } from "@tanstack/react-query";

interface Health {
  status: string;
  reason?: string;
}

/** Says so when the server can't be reached or can't take work. It needs no key, so it counts as no request. */
export function Connection() {
  const { data, error, failureCount } = useQuery({
    queryKey: ["connection"],
    queryFn: async ({ signal }): Promise<Health> => (await fetch("/health", { signal })).json(),
    refetchInterval: ({ state }) => (state.error || state.data?.reason ? 2_000 : 10_000),
    retry: false,
  });
  if (error || failureCount > 0) {
    return (
      <Banner>The server can’t be reached. What you see is what it last said; the page goes on as soon as it answers.</Banner>
    );
  }
  return data?.reason ? <Banner>The server takes no work now: {data.reason}.</Banner> : null;
}

function Banner({ children }: { children: React.ReactNode }) {
  return (
    <div className="banner" role="status">
      {children}
    </div>
  );
}
