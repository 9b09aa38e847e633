"""SGLang: how its options are spelled, how its log speaks, how its server is asked."""
