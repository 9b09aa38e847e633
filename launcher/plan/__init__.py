"""The values that everybody passes on: plan, policy, findings, evidence."""
