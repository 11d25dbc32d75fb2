/** The list itself: a grid that holds only the rows in sight, moved in by keys. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useRef, useState } from "react";
import type { Header } from "../../api/types";
import { Badge } from "../../parts/controls";
import { reward, short, when } from "../../parts/format";
import { Empty, Failure, Loading } from "../../parts/states";
import type { Conditions } from "./address";
import { Outcome } from "./Outcome";
import { useRows } from "./rows";

const ROW_PX = 32;

interface Props {
  conditions: Conditions;
  open: string | null;
  onOpen: (id: string) => void;
  selected: ReadonlySet<string>;
  onSelect: (ids: ReadonlySet<string>) => void;
}

export function List({ conditions, open, onOpen, selected, onSelect }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState({ first: 0, last: 50 });
  const [chosen, setChosen] = useState({ id: open, index: 0 });
  const rows = useRows(conditions, seen, seen.first === 0);
  const active = rows.indexOf(chosen.id) ?? chosen.index; // new ones come on top, and move it
  const virtual = useVirtualizer({
    count: rows.count + (rows.more ? 1 : 0),
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_PX,
    overscan: 16,
    scrollPaddingEnd: ROW_PX, // the head of the list lies over it
    onChange: ({ range }) => {
      if (range && (range.startIndex !== seen.first || range.endIndex !== seen.last)) {
        setSeen({ first: range.startIndex, last: range.endIndex });
      }
    },
  });

  function go(index: number) {
    const header = rows.at(index);
    setChosen({ id: header?.id ?? null, index });
    virtual.scrollToIndex(index);
    if (open && header) onOpen(header.id); // what is beside the list follows
  }

  function toggle(id: string) {
    const after = new Set(selected);
    if (!after.delete(id)) after.add(id);
    onSelect(after);
  }

  /** Selects all from the active one to another. */
  async function extend(to: number) {
    const ids = await rows.between(Math.min(active, to), Math.max(active, to));
    onSelect(new Set([...selected, ...ids]));
  }

  function press(event: KeyboardEvent) {
    const screen = Math.max(1, seen.last - seen.first - 1);
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const moves: Record<string, number> = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: screen, PageUp: -screen, Home: -Infinity, End: Infinity };
    const header = rows.at(active);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key in moves) {
      const to = Math.max(0, Math.min(active + moves[key]!, rows.count - 1));
      if (event.shiftKey) void extend(to);
      go(to);
    } else if (key === "Enter" && header) onOpen(header.id);
    else if (key === " " && header) toggle(header.id);
    else return;
    event.preventDefault();
  }

  if (rows.error && rows.count === 0) return <Failure error={rows.error} retry={rows.retry} />;
  if (rows.count === 0 && rows.more && !conditions.text) return <Loading what="trajectories" />;
  if (rows.count === 0 && !rows.more) return <Nothing filtered={Object.keys(conditions).length > 0} />;

  const current = rows.at(active);
  return (
    <div
      ref={scroller}
      className="list"
      role="grid"
      aria-label="Trajectories"
      aria-rowcount={rows.more ? -1 : rows.count + 1}
      aria-multiselectable="true"
      aria-activedescendant={current && `row-${active}`}
      tabIndex={0}
      onKeyDown={press}
    >
      <div role="row" className="line head" aria-rowindex={1}>
        {["", "Begun", "Asked", "Model", "Came by", "Ended", "Reward", "Steps", "Tokens"].map((name) => (
          <span key={name} role="columnheader" className={`cell ${name.toLowerCase().replace(" ", "-") || "select"}`}>
            {name || <span className="hidden">Selected</span>}
          </span>
        ))}
      </div>
      <div role="rowgroup" className="body" style={{ height: virtual.getTotalSize() }}>
        {virtual.getVirtualItems().map(({ index, start }) => {
          const header = rows.at(index);
          const style = { transform: `translateY(${start}px)` };
          if (!header) return <Waiting key={index} index={index} style={style} text={index >= rows.count ? waiting(rows, conditions) : "…"} />;
          return (
            <Line
              key={header.id}
              header={header}
              index={index}
              style={style}
              active={index === active}
              opened={header.id === open}
              selected={selected.has(header.id)}
              onToggle={(through) => {
                if (through) void extend(index);
                else toggle(header.id);
                setChosen({ id: header.id, index });
              }}
              onOpen={() => {
                setChosen({ id: header.id, index });
                onOpen(header.id);
              }}
            />
          );
        })}
      </div>
    </div>
  );
}

function waiting(rows: { error: unknown; count: number }, conditions: Conditions): string {
  if (rows.error) return "The connection was cut; trying again…";
  return conditions.text ? "Searching further back…" : "Loading…";
}

function Waiting({ index, style, text }: { index: number; style: React.CSSProperties; text: string }) {
  return (
    <div role="row" aria-rowindex={index + 2} className="line waiting" style={style}>
      <span role="gridcell" className="muted">
        {text}
      </span>
    </div>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered) return <Empty title="Nothing matches">No trajectory that you may see has all of these conditions.</Empty>;
  return (
    <Empty title="Nothing was recorded yet">
      Ask something on <a href="#/chat">Chat</a>, or point a program at <code>/v1/chat/completions</code>: each answer comes here as it is given.
    </Empty>
  );
}

interface LineProps {
  header: Header;
  index: number;
  style: React.CSSProperties;
  active: boolean;
  opened: boolean;
  selected: boolean;
  /** Through: with all between the active one and it. */
  onToggle: (through: boolean) => void;
  onOpen: () => void;
}

function Line({ header, index, style, active, opened, selected, onToggle, onOpen }: LineProps) {
  return (
    <div
      role="row"
      id={`row-${index}`}
      aria-rowindex={index + 2}
      aria-selected={selected}
      className={`line${active ? " active" : ""}${opened ? " opened" : ""}`}
      style={style}
      onClick={onOpen}
    >
      <span role="gridcell" className="cell select">
        <input
          type="checkbox"
          tabIndex={-1}
          checked={selected}
          aria-label={`Select ${header.preview || header.id}`}
          readOnly
          onClick={(event) => {
            event.stopPropagation();
            onToggle(event.shiftKey);
          }}
        />
      </span>
      <span role="gridcell" className="cell begun">{when(header.created)}</span>
      <span role="gridcell" className="cell asked">{header.preview || header.task_id || header.id}</span>
      <span role="gridcell" className="cell model">{header.model}</span>
      <span role="gridcell" className="cell came-by">{header.environment ?? header.source}</span>
      <span role="gridcell" className="cell ended">
        <Outcome outcome={header.outcome} />
        {header.parent_id && <Badge title={`It forked from ${header.parent_id}`}>fork</Badge>}
      </span>
      <span role="gridcell" className="cell reward">{reward(header.reward)}</span>
      <span role="gridcell" className="cell steps">{header.step_count}</span>
      <span role="gridcell" className="cell tokens">{short(header.sampled_tokens + header.prompt_tokens)}</span>
    </div>
  );
}
