"""Object stores: files behind `s3://`, `gs://` and `az://` addresses, listed, fetched and put."""
