/** Every version of a model by its lineage, one beside its parent, and who answers as which name. */
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, Route, Routes } from "react-router";
import { useKey } from "../../frame/session";
import { toModel } from "../../parts/links";
import { Empty, pending } from "../../parts/states";
import { Aliases } from "./Aliases";
import { aliases as aliasesQuery, evaluations as evaluationsQuery, type Version, versions as versionsQuery } from "./api";
import { Lineage } from "./Lineage";
import { Beside } from "./Beside";
import "./models.css";

export default function Models() {
  return (
    <Routes>
      <Route index element={<Page />} />
      <Route path=":id" element={<Page />} />
    </Routes>
  );
}

function Page() {
  const { id } = useParams();
  const go = useNavigate();
  const key = useKey();
  const versions = useQuery(versionsQuery);
  const aliases = useQuery(aliasesQuery);
  const evaluations = useQuery({ ...evaluationsQuery, enabled: key.admin });
  const waiting = pending(versions, "models") ?? pending(aliases, "aliases");
  if (waiting) return <div className="page">{waiting}</div>;
  const known = versions.data!.data;
  const chosen = known.find((version) => version.id === (id ?? inProduction(known)));
  return (
    <div className="page">
      <h1>Models</h1>
      <Aliases aliases={aliases.data!.data} />
      <div className="beside">
        <section className="card" aria-label="Lineage">
          <h2>Lineage</h2>
          <Lineage versions={known} chosen={chosen?.id} onChoose={(each) => go(toModel(each))} />
        </section>
        {chosen ? (
          <Beside version={chosen} parent={known.find((each) => each.id === chosen.parent)} evaluations={evaluations.data?.data ?? []} aliases={aliases.data!.data} />
        ) : (
          <Empty title={id ? "There is no such model" : "Choose a model"}>{id}</Empty>
        )}
      </div>
    </div>
  );
}

/** What is looked at first: what traffic gets, else what is served. */
function inProduction(versions: Version[]): string | undefined {
  return (versions.find((each) => each.aliases.length > 0) ?? versions.findLast((each) => each.served))?.id;
}
