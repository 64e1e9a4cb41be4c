"""Large runs against answers that are known from elsewhere; `make exam` runs them, `make test` a sample."""
