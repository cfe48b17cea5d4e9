#!/bin/sh
# I have a shell and the nats command (https://github.com/nats-io/natscli), nothing else.
# The command takes {{…}} in a body for a template of its own: a prompt that has it wants another client.
set -eu
server=${NATS_URL:-nats://127.0.0.1:4222}

# One call, one answer; the answer's accounting is in its headers.
nats --server "$server" --timeout 30s request \
  --header Headgate-Deadline-Ms:20000 \
  llm.v1.request.acme.interactive \
  '{"model":"claude-haiku-4-5","max_tokens":40,"messages":[{"role":"user","content":"Hello!"}]}'

# Streamed: a message for each event, then an empty one with the accounting.
nats --server "$server" --timeout 30s request --wait-for-empty \
  llm.v1.request.acme.interactive \
  '{"model":"claude-haiku-4-5","max_tokens":20,"stream":true,"messages":[{"role":"user","content":"Hello!"}]}'

# Who serves, and how is it?
nats --server "$server" --timeout 2s request llm.v1.admin.snapshot ''
