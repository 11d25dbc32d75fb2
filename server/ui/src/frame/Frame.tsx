/** What stands around every page: navigation, who is signed in, and whether the server is there. */
import { Suspense, useEffect, useRef, useState } from "react";
import { Navigate, NavLink, Route, Routes, useLocation } from "react-router";
import { Boundary, Empty, Loading } from "../parts/states";
import { Connection } from "./Connection";
import { PAGES } from "./pages";
import { SignedIn, useKey, useSignOut } from "./session";
import { applyTheme, readTheme, THEMES, type Theme } from "./theme";

export function Frame() {
  return (
    <>
      <Connection />
      <SignedIn>
        <div className="frame">
          <a className="skip" href="#main" onClick={(event) => skip(event)}>
            Skip to the page
          </a>
          <Navigation />
          <Main />
        </div>
      </SignedIn>
    </>
  );
}

function skip(event: { preventDefault(): void }) {
  event.preventDefault(); // the address holds the page, not a place in it
  document.getElementById("main")?.focus();
}

function Navigation() {
  const key = useKey();
  const signOut = useSignOut();
  const { pathname } = useLocation();
  const nav = useRef<HTMLElement>(null);
  useEffect(() => {
    // Where the pages' names don't fit side by side, the one that is open is in sight.
    nav.current?.querySelector(".active")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [pathname]);
  return (
    <header className="navigation">
      <a className="name" href="#/chat">
        AgentLM
      </a>
      <nav ref={nav} aria-label="Pages">
        {PAGES.filter((page) => !page.admin || key.admin).map((page) => (
          <NavLink key={page.path} to={page.path} title={page.about}>
            {page.name}
          </NavLink>
        ))}
      </nav>
      <div className="who">
        <ThemeChoice />
        {key.needed && (
          <>
            <span className="muted small whose" title={key.admin ? "An administrator's key" : "A key"}>
              {key.name}
              {key.admin && " · admin"}
            </span>
            <button type="button" className="link" onClick={signOut}>
              Sign out
            </button>
          </>
        )}
      </div>
    </header>
  );
}

function ThemeChoice() {
  const [theme, setTheme] = useState(readTheme);
  return (
    <label className="theme">
      <span className="hidden">Colours</span>
      <select
        value={theme}
        onChange={(event) => {
          setTheme(event.target.value as Theme);
          applyTheme(event.target.value as Theme);
        }}
      >
        {THEMES.map((name) => (
          <option key={name} value={name}>
            {{ system: "System", light: "Light", dark: "Dark" }[name]}
          </option>
        ))}
      </select>
    </label>
  );
}

function Main() {
  const { pathname } = useLocation();
  const main = useRef<HTMLElement>(null);
  const page = PAGES.find((each) => pathname.startsWith(each.path));
  useEffect(() => {
    document.title = page ? `${page.name} · AgentLM` : "AgentLM";
  }, [page]);
  return (
    <main id="main" ref={main} tabIndex={-1}>
      <Boundary key={page?.path}>
        <Suspense fallback={<Loading what={page?.name ?? "the page"} />}>
          <Routes>
            <Route index element={<Navigate to="/chat" replace />} />
            {PAGES.map(({ path, Component }) => (
              <Route key={path} path={`${path}/*`} element={<Component />} />
            ))}
            <Route path="*" element={<Empty title="There is no such page">
                  <p className="mono words">{pathname}</p>
                  <a href="#/chat">Go to Chat</a>
                </Empty>} />
          </Routes>
        </Suspense>
      </Boundary>
    </main>
  );
}
