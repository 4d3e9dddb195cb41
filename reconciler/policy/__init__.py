"""Policy: rules are pure functions of plan, wish and observation, and return findings."""
