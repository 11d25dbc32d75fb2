/** Addresses of other pages. */
export const toTrajectory = (id: string, beside?: string): string => `/trajectories?${new URLSearchParams({ open: id, ...(beside ? { beside } : {}) })}`;
export const toModel = (name: string): string => `/models/${encodeURIComponent(name)}`;
export const toEvaluation = (id: string): string => `/evaluations/${encodeURIComponent(id)}`;
