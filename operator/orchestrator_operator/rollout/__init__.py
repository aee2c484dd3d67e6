"""The rollout controller: gather reads, judge and plan are pure, apply writes."""
