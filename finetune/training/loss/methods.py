"""The loss of each method."""

from __future__ import annotations

from agentlm.finetune.data.mixture import Plan, Source
from agentlm.finetune.settings import FinetuneSettings
from agentlm.finetune.training.loss.dpo import Pairs
from agentlm.finetune.training.loss.grpo import GroupedRewards
from agentlm.finetune.training.loss.kto import Thumbs
from agentlm.finetune.training.loss.objective import Objective
from agentlm.finetune.training.loss.sft import Imitation


def objective_of(settings: FinetuneSettings, sources: list[Source], plan: Plan) -> Objective:
    match settings.method:
        case "sft":
            return Imitation()
        case "grpo":
            trained = sum(int(sources[s].rows.trained[r]) for s, r in plan.draws)
            return GroupedRewards(settings.ratio_cap, trained / plan.steps)
        case "dpo":
            return Pairs(settings.beta)
        case "kto":
            return Thumbs(settings.beta)
