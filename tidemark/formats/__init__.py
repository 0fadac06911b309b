"""Files of rows as JSON records: CSV, NDJSON and Parquet, read as text and cast by the columns that are declared.

One reader for `ingest`, `train --from` and `queue import`, so that all of them take the same values from the same file.
A column that nobody declared is not read. A value that is not of its column's type stays in its row as it stands, for
the decoder of the stream to refuse it by name: `ingest` sends such a row to the dead letters, `train` and
`queue import` name its file, row, column and value.
"""
