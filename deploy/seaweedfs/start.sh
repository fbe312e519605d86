#!/bin/sh
# Starts SeaweedFS with two keys: one for Larder, and one that only reads, for temporary links. The internal ports need
# no key, so they are bound to loopback inside the container. The S3 port and its gRPC port are reachable: run this only in a
# network that no other service shares, as compose.yaml does.
set -eu
umask 077
cat > /tmp/s3.json <<JSON
{
  "identities": [
    {
      "name": "larder",
      "credentials": [{"accessKey": "$AWS_ACCESS_KEY_ID", "secretKey": "$AWS_SECRET_ACCESS_KEY"}],
      "actions": ["Admin", "Read", "Write", "List", "Tagging"]
    },
    {
      "name": "links",
      "credentials": [{"accessKey": "$S3_LINK_ACCESS_KEY_ID", "secretKey": "$S3_LINK_SECRET_ACCESS_KEY"}],
      "actions": ["Read"]
    }
  ]
}
JSON
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
exec weed -logtostderr=true server -dir="${DATA:-/data}" -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -volume.max=1000 \
    -filer -s3 -s3.ip.bind=0.0.0.0 -s3.port="${S3_LISTEN_PORT:-8333}" -s3.config=/tmp/s3.json -s3.iam=false \
    -s3.port.iceberg=0 -s3.port.lance=0 -s3.allowDeleteBucketNotEmpty=false -s3.autoCreateBucket=false
