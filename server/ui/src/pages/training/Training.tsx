/** Jobs: the list, one of them, and a new one. Addresses: `/training`, `/training/ID`, `/training/new?training_file=log:QUERY`. */
import { Route, Routes } from "react-router";
import { ForAdministrators } from "../../parts/ForAdministrators";
import { Job } from "./Job";
import { Jobs } from "./Jobs";
import { NewJob } from "./NewJob";
import "./training.css";

export default function Training() {
  return (
    <ForAdministrators what="Training">
      <Routes>
        <Route index element={<Jobs />} />
        <Route path="new" element={<NewJob />} />
        <Route path=":id" element={<Job />} />
      </Routes>
    </ForAdministrators>
  );
}
