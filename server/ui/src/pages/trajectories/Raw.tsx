/** The record as the API tells it, line by line; only the lines in sight are there. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef } from "react";
import type { Trajectory } from "../../api/types";
import { Button } from "../../parts/controls";
import { save } from "./files";

const LINE_PX = 19;

export function Raw({ trajectory }: { trajectory: Trajectory }) {
  const scroller = useRef<HTMLDivElement>(null);
  const lines = useMemo(() => packed(trajectory).split("\n"), [trajectory]);
  const virtual = useVirtualizer({ count: lines.length, getScrollElement: () => scroller.current, estimateSize: () => LINE_PX, overscan: 20 });
  return (
    <>
      <div className="row">
        <Button onPress={() => save(`${trajectory.id}.json`, JSON.stringify(trajectory))}>Save as a file</Button>
      </div>
      <div ref={scroller} className="raw mono" tabIndex={0} role="region" aria-label="The record as JSON">
        <div style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, start }) => (
            <div key={index} className="json" style={{ transform: `translateY(${start}px)` }}>
              {lines[index]}
            </div>
          ))}
        </div>
      </div>
    </>
  );
}

/** Indented, but for arrays of numbers, which stand on one line. */
function packed(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(/\[\s+(?:(?:-?[\d.e+-]+|true|false),?\s+)+\]/g, (array) => array.replace(/\s+/g, " "));
}
