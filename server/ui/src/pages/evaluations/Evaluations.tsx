/** What was measured: the list, and one evaluation down to each failed run. */
import { Route, Routes } from "react-router";
import { ForAdministrators } from "../../parts/ForAdministrators";
import { Evaluation } from "./Evaluation";
import { List } from "./List";
import "./evaluations.css";

export default function Evaluations() {
  return (
    <ForAdministrators what="Evaluations">
      <Routes>
        <Route index element={<List />} />
        <Route path=":id" element={<Evaluation />} />
      </Routes>
    </ForAdministrators>
  );
}
