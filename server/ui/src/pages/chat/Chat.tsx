import { Empty } from "../../parts/states";

export default function Chat() {
  return <Empty title="Chat" />;
}
