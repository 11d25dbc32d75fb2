/** The pages, in the order of the navigation. One line here and a folder in `pages/` make a page. */
import { type ComponentType, lazy } from "react";

export interface Page {
  path: string;
  name: string;
  about: string;
  /** For administrators' keys only. */
  admin?: boolean;
  Component: ComponentType;
}

export const PAGES: Page[] = [
  { path: "/chat", name: "Chat", about: "Watch an agent act", Component: lazy(() => import("../pages/chat/Chat")) },
  {
    path: "/trajectories",
    name: "Trajectories",
    about: "What was recorded, and how good it was",
    Component: lazy(() => import("../pages/trajectories/Trajectories")),
  },
  {
    path: "/training",
    name: "Training",
    about: "Successors in the making",
    Component: lazy(() => import("../pages/training/Training")),
  },
  { path: "/models", name: "Models", about: "What is served, and its lineage", Component: lazy(() => import("../pages/models/Models")) },
  {
    path: "/evaluations",
    name: "Evaluations",
    about: "Base beside candidate",
    Component: lazy(() => import("../pages/evaluations/Evaluations")),
  },
  { path: "/health", name: "Health", about: "Load, log, tools and keys", Component: lazy(() => import("../pages/health/Health")) },
];
