"""From verdicts to what is to be done, remembered and told. Pure."""
