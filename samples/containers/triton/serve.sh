# Starts Triton in its SageMaker mode: the calls of a multi-model container, and no other protocol.
set -eu

# For many models: one that fails to load must not fail the container's pings.
export SAGEMAKER_TRITON_PING_MODE="${SAGEMAKER_TRITON_PING_MODE:-live}"

# Triton needs a model repository. This one stays empty: every model is loaded from a directory of its own, which must not
# be below the repository, or Triton would take the model for one of the repository's.
mkdir -p /tmp/sagemaker

# A container has 64 MB of shared memory unless it is started with more. Each model of the Python backend takes the default
# size when it is loaded, and more for large requests. When no shared memory is left, loads are answered with 507.
exec /opt/tritonserver/bin/tritonserver \
    --allow-sagemaker=true \
    --sagemaker-port="${SAGEMAKER_BIND_TO_PORT:-8080}" \
    --allow-http=false \
    --allow-grpc=false \
    --allow-metrics=false \
    --model-control-mode=explicit \
    --model-namespacing=true \
    --model-repository=/tmp/sagemaker \
    --backend-directory=/opt/tritonserver/backends \
    --backend-config=python,shm-default-byte-size="${TRITON_SHM_DEFAULT_BYTES:-4194304}" \
    --backend-config=python,shm-growth-byte-size="${TRITON_SHM_GROWTH_BYTES:-1048576}"
