"""The policy, and all that can be asked of it. Pure.

What it says: `model`, `service`, `principal`, `index`, `stage`; a file of it: `schema`, `load`, `write`, `moment`.

What rules ask: `condition` of one end, `implication` between conditions, `hours`; `expression` in CEL, with its
language in `cel`, its attributes in `attributes`, and where it belongs in `relation`.

What is decided: `decide`, the same for many flows in `decider`; `explain`, `matrix`. For switches: `compile`, of
`entry` and `peers`; and `recompile`, for a policy that differs in some rules, by mappings of `versions`;
great numbers are put in `order`.

Who may open what at all: `access`; from there `graph` and `tables`, `reach`, `score` and `blast_radius`.

Its own tests and what it probably does not mean: `check`, `lint`, `trial`, `outcome`.

Two policies: `diff` with what it found in `difference`. The way there, shared with `trial`, is by sets of questions:
`bits`, `cube`, `space`, `place`, `pieces`, `atom`, `traits`, `calendar`, `example`, `reduce`.

Traffic that was seen: `seen`; what another policy does to it, `whatif`; the policy that it asks for, `recommend` and
`recommendation`.
"""
