# An environment for `make`. Not tested: no container runs where this was written.
#   docker build -t vaelib . && docker run --rm -it -v "$PWD:/work" vaelib make
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/*
WORKDIR /work
CMD ["make"]
