import { Empty } from "../../parts/states";

export default function Trajectories() {
  return <Empty title="Trajectories" />;
}
