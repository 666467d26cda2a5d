# ruff: noqa: E501 — a table: one fault on one line
"""One fault each: a fixture in which nothing is wrong, and the change that plants exactly one mistake. Not a test.

`fixture` names a file of `fixtures/`; `old` is replaced once by `new` (an empty `old` appends). `more` are further
replacements that belong to the same mistake. The rule's own module is where its test stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from penstock.operate.doctor import Report, check, evidence_of_text

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A mistake in a file that is right otherwise."""

    rule: str
    """The code of the rule that must find it."""
    fixture: str
    old: str = ""
    new: str = ""
    more: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()
    """Codes that cannot but come with it: a flag that an engine does not have yet is one of an old engine."""
    at: str = ""
    """Text of the line that the finding must point to; "" where it is not checked."""

    @property
    def name(self) -> str:
        return f"{self.rule}: {' '.join((self.new or self.old).split())[:60]}"

    @property
    def text(self) -> str:
        text = read(self.fixture)
        if not self.old:
            return text + self.new
        for old, new in ((self.old, self.new), *self.more):
            assert old in text, f"{self.rule}: {self.fixture} has no {old!r}"
            text = text.replace(old, new, 1)
        return text


def read(fixture: str) -> str:
    return (FIXTURES / fixture).read_text(encoding="utf-8")


def examined(text: str, file: str) -> Report:
    """What doctor says of one file."""
    return check(evidence_of_text(text, file))


def assert_found_alone(fault: Fault) -> None:
    """The rule finds the fault at its line, and nothing else is found."""
    text = fault.text

    report = examined(text, fault.fixture)

    assert sorted(codes(report)) == sorted([fault.rule, *fault.also])
    assert report.problems == ()
    (finding,) = (f for f in report.findings if f.rule.code == fault.rule)
    assert fault.at in text.split("\n")[finding.where.line - 1]


def codes(report: Report) -> list[str]:
    return [finding.rule.code for finding in report.findings]


_S, _V, _H, _C, _G, _K, _L = (
    "stack.yaml", "values.yaml", "small.yaml", "deploy.sh", "guide.md", "cluster.yaml", "engine.log",
)  # fmt: skip
_FLAG = "            - --shutdown-timeout\n"


def _flag(rule: str, flag: str) -> Fault:
    """One more flag in the Deployment's list."""
    return Fault(rule=rule, fixture=_S, old=_FLAG, new=f"            - {flag}\n{_FLAG}", at=f"- {flag}")


def _prose(rule: str, sentence: str) -> Fault:
    return Fault(rule=rule, fixture=_G, new=f"\n{sentence}\n", at=sentence)


def _event(rule: str, reason: str, message: str, *, kind: str = "Pod", count: int = 1) -> Fault:
    new = f"""  - apiVersion: v1
    kind: Event
    metadata: {{name: e2, namespace: llm}}
    reason: {reason}
    count: {count}
    message: {message!r}
    involvedObject: {{kind: {kind}, name: thing, namespace: llm}}
"""
    return Fault(rule=rule, fixture=_K, new=new, at=message)


def _log(rule: str, *lines: str) -> Fault:
    return Fault(rule=rule, fixture=_L, new="".join(f"{line}\n" for line in lines), at=lines[-1])


def _waiting(rule: str, reason: str, last: str = "{}") -> Fault:
    return Fault(
        rule=rule, fixture=_K, old='running: {startedAt: "2026-11-01T10:00:00Z"}', new=f"waiting: {{reason: {reason}}}",
        more=(("lastState: {}", f"lastState: {last}"),), at=reason,
    )  # fmt: skip


_QUERY = """          sum(avg_over_time(vllm:num_requests_running{namespace="llm",model_name="llama-70b"}[1m]))
          + sum(avg_over_time(vllm:num_requests_waiting{namespace="llm",model_name="llama-70b"}[1m]))
"""
_RULE = "        - alert: PreemptionsHigh\n"


def _query(rule: str, query: str) -> Fault:
    return Fault(rule=rule, fixture=_S, old=_QUERY, new=f"          {query}\n", at="query: |")


def _alert(rule: str, expr: str) -> Fault:
    return Fault(
        rule=rule, fixture=_S, old=_RULE, new=f"        - alert: Planted\n          expr: {expr}\n{_RULE}", at=expr
    )


_HPA = """---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: second, namespace: llm}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: llama-70b}
  maxReplicas: 4
  metrics:
    - type: External
      external:
        metric: {name: tokens_waiting}
        target: {type: AverageValue, averageValue: "1000"}
"""
_PODS_METRIC = """    - type: Pods
      pods:
        metric:
          name: vllm_requests_in_flight
        target: {type: AverageValue, averageValue: "20"}
"""
_STARTUP = """          startupProbe:
            httpGet:
              path: /health
              port: http
            periodSeconds: 10
            failureThreshold: 60
"""
_SHM = """            - name: shm
              mountPath: /dev/shm
"""
_PRESTOP = """          lifecycle:
            preStop:
              sleep:
                seconds: 15
"""
_INGRESS = """---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: llama
  annotations:
    nginx.ingress.kubernetes.io/proxy-read-timeout: "300"
spec:
  rules: []
"""

COMMANDS = (
    Fault(rule="PS001", fixture=_C, old="--chunk-size=500", new="--server-side=true", at="get pods"),
    Fault(rule="PS001", fixture=_G, old="$ vllm serve", new="$ kubectl get pods --server-side\n$ vllm serve", at="get pods"),
    Fault(rule="PS043", fixture=_C, old="  -- nvidia-smi", new="  --limits=nvidia.com/gpu=1 -- nvidia-smi", at="--limits"),
    Fault(rule="PS046", fixture=_C, old="helm upgrade --install vllm vllm/vllm-stack", new="helm install vllm vllm/vllm-stack --install", at="helm install"),
    Fault(rule="PS147", fixture=_C, old="vllm/vllm-stack \\", new="vllm \\", at="helm upgrade"),
    Fault(rule="PS146", fixture=_C, old="nvidia-smi mig -lgip", new="sudo nvidia-smi mig -cgi 19,19,19 -C", at="-cgi"),
)  # fmt: skip

FLAGS = (
    _flag("PS002", "--disable-log-requests"),
    _flag("PS002", "--disable_log_requests"),
    _flag("PS003", "--num-scheduler-steps=8"),
    _flag("PS101", "--swap-space=4"),
    _flag("PS103", "--max-modle-len=8192"),
    _flag("PS004", "--no-enable-prefix-caching"),
    _flag("PS040", "--trust-remote-code"),
    Fault(rule="PS002", fixture=_C, old="--max-model-len 16384", new="--max-model-len 16384 --disable-log-requests", at="docker run"),
    Fault(rule="PS002", fixture=_G, old="--max-model-len 16384", new="--disable-log-requests", at="vllm serve"),
    Fault(rule="PS002", fixture=_V, old='extraArgs: ["', new='extraArgs: ["--disable-log-requests", "', at="extraArgs"),
    Fault(rule="PS003", fixture=_H, old='"--shutdown-timeout"', new='"--num-scheduler-steps", "8", "--shutdown-timeout"', at="args:"),
    Fault(rule="PS102", fixture=_C, old="vllm/vllm-openai:v0.32.0 --model", new="vllm/vllm-openai:v0.17.1 --shutdown-timeout 5 --model", also=("PS144",), at="docker run"),
    Fault(rule="PS004", fixture=_V, old="enablePrefixCaching: true", new="enablePrefixCaching: false", at="enablePrefixCaching: false"),
    Fault(rule="PS004", fixture=_V, old="maxModelLen: 16384", new="enableChunkedPrefill: false", at="enableChunkedPrefill"),
    Fault(rule="PS105", fixture=_V, old="        enablePrefixCaching: true\n        maxModelLen", new="        maxModelLen", at="vllmConfig:"),
    Fault(rule="PS038", fixture=_S, old='command: ["vllm", "serve", "/models/llama-70b"]', new='command: ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "/models/llama-70b"]', at="command:"),
    Fault(rule="PS144", fixture=_S, old="vllm-openai:v0.32.0", new="vllm-openai:v0.29.2", at="image:"),
    Fault(rule="PS144", fixture=_V, old="tag: v0.32.0", new="tag: v0.10.1.1", at="tag:"),
    Fault(rule="PS039", fixture=_S, old="vllm-openai:v0.32.0", new="vllm-openai:latest", at="image:"),
    Fault(rule="PS039", fixture=_S, old="busybox:1.37.0", new="busybox", at="image: busybox"),
    Fault(rule="PS039", fixture=_V, old="tag: v0.1.8", new="tag: latest", at="tag: latest"),
    Fault(rule="PS039", fixture=_C, old="vllm/vllm-openai:v0.32.0", new="vllm/vllm-openai:latest", at="docker run"),
    Fault(rule="PS037", fixture=_S, old="name: HF_TOKEN\n              valueFrom:\n                secretKeyRef:\n                  name: hf-token\n                  key: token\n          ports", new="name: HUGGING_FACE_HUB_TOKEN\n              valueFrom:\n                secretKeyRef:\n                  name: hf-token\n                  key: token\n          ports", at="HUGGING"),
    Fault(rule="PS037", fixture=_C, old="export HF_TOKEN", new="export HUGGING_FACE_HUB_TOKEN", at="export"),
    Fault(rule="PS037", fixture=_C, old="export HF_TOKEN", new="export HUGGINGFACE_HUB_TOKEN", at="export"),
    Fault(rule="PS143", fixture=_H, old="valueFrom: {secretKeyRef: {name: hf, key: token}}", new="value: hf_abcdefghijklmnopqrstuvwxyz", at="HF_TOKEN"),
)  # fmt: skip

CLAIMS = (
    _prose("PS015", "The HPA goes from breach to a ready pod in 15-30 seconds."),
    _prose("PS326", "A PodDisruptionBudget keeps one replica up during a rolling update."),
    _prose("PS327", "Note that policy/v1beta1 is deprecated as of Kubernetes 1.30."),
    _prose("PS328", "With maxSurge 1 and maxUnavailable 0 an update has zero dropped connections."),
    _prose("PS332", "Spot nodes give a 30 second warning on every cloud."),
    _prose("PS333", "The tensor parallel size must equal the number of GPUs or the pod hangs."),
    _prose("PS334", "Mount /dev/shm because vLLM keeps its KV cache there."),
    _prose("PS335", "On CUDA out of memory lower gpu-memory-utilization."),
    _prose("PS335", "No available memory for the cache blocks: lower gpu-memory-utilization."),
    _prose("PS345", "Install an NVIDIA driver version 550 or newer."),
    _prose("PS347", "ReadWriteMany is the most critical optimisation of all."),
    _prose("PS349", "Then compare output quality between the two models."),
    _prose("PS052", "Run 7B models on an A10G or L4."),
    _prose("PS053", "VLLM (Very Large Language Model) is an engine."),
    _prose("PS053", "Ollama and llama.cpp are CPU only."),
    Fault(rule="PS334", fixture=_S, old="        - name: shm\n          emptyDir", new="        - name: shm  # vLLM relies on shared memory for its KV cache\n          emptyDir", at="KV cache"),
)  # fmt: skip

METRICS = (
    Fault(rule="PS051", fixture=_S, old="clamp_min(sum(rate(vllm:time_to_first_token_seconds_count[5m])), 0.001)", new="sum(rate(vllm:time_to_first_token_seconds_count[5m]))", at="expr: |"),
    _query("PS005", "sum(vllm_active_requests) + sum(vllm:num_requests_waiting)"),
    _alert("PS005", "sum(vllm_active_requests) > 100"),
    _alert("PS106", "max(vllm:gpu_cache_usage_perc) > 0.9"),
    _alert("PS107", "sum(rate(vllm:prefix_cache_hits[5m])) > 1"),
    _alert("PS108", 'sum(vllm:num_requests_running{deployment="llama"}) > 100'),
    _alert("PS006", "sum(rate(vllm:num_requests_waiting[2m])) > 5"),
    _alert("PS150", "max(vllm:kv_cache_usage_perc) > 90"),
    Fault(rule="PS050", fixture=_S, old='le="0.5"', new='le="0.4"', at="expr: |"),
    Fault(rule="PS051", fixture=_S, old="            and sum(rate(vllm:request_success_total[5m])) > 0.1\n", at="expr: |"),
    _alert("PS120", "avg(DCGM_FI_DEV_GPU_UTIL) > 90"),
)  # fmt: skip

SCALING = (
    Fault(rule="PS007", fixture=_S, old='        threshold: "24"', new='        metricName: load\n        threshold: "24"', at="metricName"),
    Fault(rule="PS008", fixture=_S, old="      metricType: AverageValue\n", at="threshold"),
    Fault(rule="PS111", fixture=_S, old="metricType: AverageValue", new="metricType: Value", at="metricType"),
    _query("PS110", "avg(vllm:num_requests_running) + avg(vllm:num_requests_waiting)"),
    Fault(rule="PS009", fixture=_S, old="        scaleDown:\n          stabilizationWindowSeconds: 600\n          policies:\n            - type: Pods\n              value: 1\n              periodSeconds: 120\n", new="", more=(("  pollingInterval: 15\n", "  pollingInterval: 15\n  cooldownPeriod: 300\n"),), at="cooldownPeriod"),
    Fault(rule="PS010", fixture=_S, old='        ignoreNullValues: "false"\n', at="metadata:"),
    Fault(rule="PS112", fixture=_S, old="  fallback:\n    failureThreshold: 3\n    replicas: 4\n", at="name: llama-70b"),
    _query("PS149", "vllm:num_requests_running + vllm:num_requests_waiting"),
    Fault(rule="PS011", fixture=_S, new=_HPA, at="scaleTargetRef: {apiVersion"),
    Fault(rule="PS012", fixture=_H, old="          name: vllm_requests_in_flight", new="          name: vllm:num_requests_running", at="vllm:num_requests_running"),
    Fault(rule="PS109", fixture=_H, old="          name: vllm_requests_in_flight", new="          name: vllm_requests_running", at="vllm_requests_running"),
    Fault(rule="PS119", fixture=_S, new="---\nexternalRules:\n  - seriesQuery: vllm:num_requests_running\n    name: {as: load}\n", at="seriesQuery"),
    _query("PS013", 'sum(avg_over_time(vllm:num_requests_waiting{namespace="llm"}[1m]))'),
    _query("PS014", "sum(DCGM_FI_DEV_GPU_UTIL)"),
    Fault(rule="PS121", fixture=_H, old=_PODS_METRIC, new="    - type: Resource\n      resource:\n        name: cpu\n        target: {type: Utilization, averageUtilization: 80}\n", at="name: cpu"),
    Fault(rule="PS048", fixture=_H, old="minReplicas: 2", new="minReplicas: 0", at="minReplicas"),
    Fault(rule="PS148", fixture=_S, old="minReplicaCount: 2", new="minReplicaCount: 0", at="minReplicaCount"),
    Fault(rule="PS148", fixture=_S, old="  minReplicaCount: 2\n", at="name: llama-70b"),
)  # fmt: skip

STORAGE = (
    Fault(rule="PS016", fixture=_S, old="- ReadWriteMany", new="- ReadOnlyMany", at="ReadOnlyMany"),
    Fault(rule="PS016", fixture=_S, old="            - name: weights\n              mountPath: /models\n      volumes", new="            - name: weights\n              mountPath: /models\n              readOnly: true\n      volumes", at="readOnly"),
    Fault(rule="PS017", fixture=_S, old="storageClassName: efs-sc", new="storageClassName: gp3", at="gp3"),
    Fault(rule="PS017", fixture=_V, old="storageClass: efs-sc", new="storageClass: premium-rwo", at="premium-rwo"),
    Fault(rule="PS122", fixture=_S, old="- ReadWriteMany", new="- ReadWriteOnce", at="claimName"),
    Fault(rule="PS122", fixture=_V, old="- ReadWriteMany", new="- ReadWriteOnce", at="replicaCount"),
    Fault(rule="PS018", fixture=_S, old="model.safetensors.index.json", new="model.safetensors", at="test -s"),
    Fault(rule="PS124", fixture=_S, old="until test -e /models/llama-70b; do sleep 5; done", new="echo would download the model; exit 1", at="would download"),
    Fault(rule="PS123", fixture=_S, old="mountPath: /models\n              readOnly: true\n            - name: shm", new="mountPath: /root/.cache/huggingface/hub\n            - name: shm", more=(('"/models/llama-70b"]\n          args', '"meta-llama/Llama-3.1-70B-Instruct"]\n          args'),), at="/root/.cache"),
    Fault(rule="PS047", fixture=_S, old="            - --safetensors-load-strategy\n            - prefetch\n", at="claimName"),
)  # fmt: skip

MEMORY = (
    Fault(rule="PS019", fixture=_S, old="--tensor-parallel-size=4", new="--enable-request-id-headers", more=(('nvidia.com/gpu: "4"', 'nvidia.com/gpu: "1"'), ('nvidia.com/gpu: "4"', 'nvidia.com/gpu: "1"')), at="command:"),
    Fault(rule="PS021", fixture=_V, old="openai/gpt-oss-120b", new="Qwen/Qwen3-VL-235B-A22B-Instruct", at="modelURL"),
    Fault(rule="PS020", fixture=_V, old="requestGPU: 2", new="requestGPU: 4", more=(("tensorParallelSize: 2", "tensorParallelSize: 4"),), at="requestGPU: 4"),
    Fault(rule="PS022", fixture=_V, old="maxModelLen: 16384", new="maxModelLen: 80000", at="maxModelLen"),
    Fault(rule="PS035", fixture=_V, old='"0.9"', new='"0.5"', at="extraArgs"),
    Fault(rule="PS141", fixture=_S, old='"0.92"', new='"0.99"', at="gpu-memory-utilization"),
    Fault(rule="PS033", fixture=_V, old="requestGPU: 2", new="requestGPU: 1", at="tensorParallelSize"),
    Fault(rule="PS136", fixture=_H, old="nvidia.com/gpu: 1", new="nvidia.com/gpu: 2", at="limits"),
    Fault(rule="PS138", fixture=_V, old="tensorParallelSize: 2", new="tensorParallelSize: 3", more=(("requestGPU: 2", "requestGPU: 3"),), at="tensorParallelSize"),
    Fault(rule="PS044", fixture=_H, old="nvidia.com/gpu: 1", new="nvidia.com/mig-1g.10gb: 1", at="limits"),
    Fault(rule="PS034", fixture=_S, old=_SHM, at="- name: vllm"),
    Fault(rule="PS139", fixture=_S, old="sizeLimit: 5Gi", new="sizeLimit: 512Mi", at="sizeLimit"),
    Fault(rule="PS140", fixture=_S, old="sizeLimit: 5Gi", new="sizeLimit: 180Gi", at="sizeLimit"),
    Fault(rule="PS036", fixture=_S, old="memory: 200Gi", new="memory: 100Gi", at="memory: 200Gi"),
    Fault(rule="PS142", fixture=_S, old="memory: 200Gi", new="memory: 12Gi", more=(("memory: 200Gi", "memory: 12Gi"), ("sizeLimit: 5Gi", "sizeLimit: 4Gi")), at="memory: 12Gi"),
)  # fmt: skip

PROBES = (
    Fault(rule="PS023", fixture=_S, old="periodSeconds: 10\n            failureThreshold: 60", new="periodSeconds: 5\n            failureThreshold: 30", at="failureThreshold"),
    Fault(rule="PS126", fixture=_S, old="            periodSeconds: 5\n", new="            initialDelaySeconds: 30\n            periodSeconds: 5\n", at="initialDelaySeconds"),
    Fault(rule="PS024", fixture=_S, old=_STARTUP, at="livenessProbe"),
    Fault(rule="PS128", fixture=_S, old="            failureThreshold: 3\n", new="            failureThreshold: 3\n            terminationGracePeriodSeconds: 1\n", at="terminationGracePeriodSeconds: 1"),
)  # fmt: skip

ROLLOUT = (
    Fault(rule="PS025", fixture=_S, old="  maxUnavailable: 1\n  unhealthy", new="  minAvailable: 4\n  unhealthy", at="minAvailable"),
    Fault(rule="PS025", fixture=_S, old="  maxUnavailable: 1\n  unhealthy", new="  maxUnavailable: 0\n  unhealthy", at="maxUnavailable: 0"),
    Fault(rule="PS130", fixture=_S, old="  maxUnavailable: 1\n  unhealthy", new="  minAvailable: 1\n  unhealthy", at="minAvailable"),
    Fault(rule="PS131", fixture=_S, old="  unhealthyPodEvictionPolicy: AlwaysAllow\n", at="spec:"),
    Fault(rule="PS026", fixture=_S, old="      maxUnavailable: 1\n", new="      maxUnavailable: 50%\n", at="50%"),
    Fault(rule="PS027", fixture=_S, old="apiVersion: policy/v1\n", new="apiVersion: policy/v1beta1\n", at="v1beta1"),
    Fault(rule="PS028", fixture=_H, old=', "--shutdown-timeout", "10"', at="maxUnavailable: 0"),
    Fault(rule="PS029", fixture=_S, old='            - --shutdown-timeout\n            - "90"\n', at="terminationGracePeriodSeconds"),
    Fault(rule="PS132", fixture=_S, old="terminationGracePeriodSeconds: 120", new="terminationGracePeriodSeconds: 60", at="terminationGracePeriodSeconds"),
    Fault(rule="PS133", fixture=_S, old=_PRESTOP, at="--shutdown-timeout"),
    Fault(rule="PS129", fixture=_S, old="              sleep:\n                seconds: 15\n", new="              exec:\n                command: [sh, -c, \"while [ $(curl -s :8000/metrics | grep 'vllm:num_requests_waiting' | cut -d' ' -f2) != 0.0 ]; do sleep 1; done\"]\n", at="command: [sh"),
    Fault(rule="PS134", fixture=_H, new="---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {allocatable: {nvidia.com/gpu: \"2\"}}\n", at="maxUnavailable"),
    Fault(rule="PS041", fixture=_S, old="      annotations:\n        checksum/config: 5b1f4b3a\n", at="name: llama-70b-settings"),
)  # fmt: skip

PLACEMENT = (
    Fault(rule="PS030", fixture=_S, old="- key: karpenter.sh/capacity-type", new="- key: node.kubernetes.io/spot", at="node.kubernetes.io/spot"),
    Fault(rule="PS031", fixture=_S, old="value: 100000", new="value: -1000", at="value: -1000"),
    Fault(rule="PS032", fixture=_S, old="      nodeSelector:\n", new="      nodeSelector:\n        cloud.google.com/gke-spot: \"true\"\n", more=(("terminationGracePeriodSeconds: 120", "terminationGracePeriodSeconds: 24"), ('            - "90"', '            - "6"'), ("seconds: 15", "seconds: 3")), at="gke-spot"),
    Fault(rule="PS135", fixture=_S, old="      nodeSelector:\n", new="      nodeSelector:\n        cloud.google.com/gke-spot: \"true\"\n", also=("PS032",), at="terminationGracePeriodSeconds"),
    Fault(rule="PS045", fixture=_K, old='nvidia.com/cuda.driver.major: "580"', new='nvidia.com/cuda.driver.major: "550"', at="550"),
    Fault(rule="PS045", fixture=_V, new='driver:\n  version: "550.144.03"\n', at="550"),
)  # fmt: skip

NETWORK = (
    Fault(rule="PS042", fixture=_S, new=_INGRESS, at="proxy-read-timeout"),
    Fault(rule="PS049", fixture=_S, old="      mirrorPercentage:\n        value: 5\n", at="mirror:"),
    Fault(rule="PS117", fixture=_S, old="    matchLabels:\n      app: llama-70b\n  endpoints", new="    matchLabels:\n      release: prometheus\n  endpoints", at="matchLabels"),
    Fault(rule="PS118", fixture=_S, old="    - port: http\n", new="    - port: metrics\n", at="port: metrics"),
    Fault(rule="PS151", fixture=_S, old="  selector:\n    app: llama-70b\n", new="  selector:\n    app: llama\n", at="selector"),
    Fault(rule="PS116", fixture=_H, old="            namespace: {resource: namespace}\n            pod: {resource: pod}\n", new="            engine: {resource: engine}\n", at="seriesQuery"),
)  # fmt: skip

CLUSTER = (
    Fault(rule="PS201", fixture=_K, old='allocatable: {cpu: "190", nvidia.com/gpu: "8"}', new='allocatable: {cpu: "190"}', at="allocatable"),
    Fault(rule="PS202", fixture=_K, old='allocatable: {cpu: "190", nvidia.com/gpu: "8"}', new='allocatable: {cpu: "190", nvidia.com/gpu: "0"}', at="allocatable"),
    Fault(rule="PS203", fixture=_K, old='{type: PodScheduled, status: "True"}', new='{type: PodScheduled, status: "False", message: "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}', at="Insufficient"),
    _event("PS204", "FailedScheduling", "0/3 nodes are available: 3 node(s) had untolerated taint {nvidia.com/gpu: present}."),
    Fault(rule="PS205", fixture=_K, old="lastState: {}", new="lastState: {terminated: {reason: OOMKilled, exitCode: 137}}", at="OOMKilled"),
    _waiting("PS206", "ImagePullBackOff"),
    _waiting("PS227", "CrashLoopBackOff", "{terminated: {reason: Error, exitCode: 2}}"),
    _event("PS207", "Killing", "Container vllm failed startup probe, will be restarted"),
    _event("PS208", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", count=30),
    Fault(rule="PS222", fixture=_K, old="status: {phase: Bound}", new="status: {phase: Pending}", at="Pending"),
    _event("PS223", "FailedAttachVolume", "Multi-Attach error for volume pvc-1: Volume is already used by pod(s) llama-1"),
    Fault(rule="PS224", fixture=_K, old='{type: ScalingActive, status: "True", reason: ValidMetricFound, message: the HPA was able to compute}', new='{type: ScalingActive, status: "False", reason: FailedGetPodsMetric, message: unable to get metric}', at="FailedGetPodsMetric"),
    Fault(rule="PS225", fixture=_K, old='{type: ScalingLimited, status: "False", reason: DesiredWithinRange, message: the desired count is within range}', new='{type: ScalingLimited, status: "True", reason: TooManyReplicas, message: more than the maximum}', at="maxReplicas"),
    Fault(rule="PS236", fixture=_K, old='{type: ScalingLimited, status: "False", reason: DesiredWithinRange,', new='{type: AbleToScale, status: "False", reason: AmbiguousSelector,', at="AmbiguousSelector"),
    Fault(rule="PS235", fixture=_K, old="phase: Running\n", new="phase: Failed\n      reason: Evicted\n      message: The node was low on resource ephemeral-storage\n", at="ephemeral-storage"),
    Fault(rule="PS226", fixture=_K, new="".join(_event("", "SuccessfulRescale", f"New size: 2; reason: {r} target", kind="HorizontalPodAutoscaler", count=4).new for r in ("All metrics below", "pods metric above")), at="below target"),
    Fault(rule="PS231", fixture=_K, new="  - apiVersion: keda.sh/v1alpha1\n    kind: ScaledObject\n    metadata: {name: s, namespace: llm}\n    spec: {scaleTargetRef: {name: other}, minReplicaCount: 1}\n    status: {conditions: [{type: Ready, status: 'False', message: no}]}\n", at="Ready"),
)  # fmt: skip

_FREE = "0/3 nodes are available: "


def _unscheduled(rule: str, message: str) -> Fault:
    return Fault(
        rule=rule,
        fixture=_K,
        old='{type: PodScheduled, status: "True"}',
        new=f"{{type: PodScheduled, status: 'False', message: {message!r}}}",
        at=message[:30],
    )


def _object(
    rule: str, *lines: str, at: str, also: tuple[str, ...] = (), more: tuple[tuple[str, str], ...] = ()
) -> Fault:
    """Further items of the dump, each on a line; `more` changes what is there."""
    last = "    involvedObject: {kind: Pod, name: llama-0, namespace: llm}\n"
    new = last + "".join(f"  - {line}\n" for line in lines)
    return Fault(rule=rule, fixture=_K, old=last, new=new, more=more, also=also, at=at)


def _made(name: str, by: str, node: str, status: str, spec: str = "") -> str:
    """A pod of a ReplicaSet."""
    return f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: llm, labels: {{app: x}}, ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {by}, uid: u-{by}, controller: true}}]}}, spec: {{{node}{spec}containers: [{{name: c, image: 'a/b:1.0', resources: {{limits: {{nvidia.com/gpu: '1'}}}}}}]}}, status: {{{status}}}}}"


def _set(name: str, of: str = "x") -> str:
    return f"{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: {name}, namespace: llm, uid: u-{name}, ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: {of}, uid: u-{of}, controller: true}}]}}, spec: {{replicas: 1, selector: {{matchLabels: {{app: x}}}}}}, status: {{replicas: 1}}}}"


def _deployment(strategy: str, status: str) -> str:
    return f"{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: x, namespace: llm, uid: u-x}}, spec: {{replicas: 1, selector: {{matchLabels: {{app: x}}}}, strategy: {{{strategy}}}, template: {{metadata: {{labels: {{app: x}}}}, spec: {{containers: [{{name: c, image: 'a/b:1.0', resources: {{limits: {{nvidia.com/gpu: '1'}}}}}}]}}}}}}, status: {{{status}}}}}"


_PROBED = (
    (
        'limits: {nvidia.com/gpu: "1", memory: 64Gi}\n',
        'limits: {nvidia.com/gpu: "1", memory: 64Gi}\n          startupProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 10, failureThreshold: 60}\n',
    ),
)
_CLAIMED = "volumes: [{name: w, persistentVolumeClaim: {claimName: weights}}], "
_API = "{{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {{name: {name}}}, spec: {{group: {group}, version: {version}, groupPriorityMinimum: 100, versionPriority: 100}}, status: {{conditions: [{{type: Available, status: '{up}', reason: R, message: 'endpoints for service are missing'}}]}}}}"
_SERVER = "{{apiVersion: monitoring.coreos.com/v1, kind: Prometheus, metadata: {{name: main, namespace: monitoring}}, spec: {{podMonitorSelector: {{matchLabels: {{release: prom}}}}{within}}}}}"
_MONITOR = "{{apiVersion: monitoring.coreos.com/v1, kind: PodMonitor, metadata: {{name: engines, namespace: llm, labels: {{release: {release}}}}}, spec: {{selector: {{matchLabels: {{absent: 'yes'}}}}, podMetricsEndpoints: [{{port: http}}]}}}}"
_SLICED = "{{apiVersion: v1, kind: Service, metadata: {{name: front, namespace: llm}}, spec: {{selector: {{app: x}}, ports: [{{port: 80, targetPort: metrics}}]}}}}"
_SLICE = "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: front-1, namespace: llm, labels: {{kubernetes.io/service-name: front}}}}, addressType: IPv4, endpoints: [{endpoints}]}}"
_UP = "phase: Running, conditions: [{type: Ready, status: 'True', lastTransitionTime: '2026-11-01T10:00:00Z'}]"

LIVE = (
    _unscheduled("PS241", f"{_FREE}3 Insufficient memory."),
    _unscheduled("PS241", f"{_FREE}1 Too many pods, 2 node(s) were cordoned."),
    _unscheduled("PS242", f"{_FREE}pod has unbound immediate PersistentVolumeClaims."),
    _unscheduled("PS242", f"{_FREE}3 node(s) had volume node affinity conflict."),
    _unscheduled("PS244", f"{_FREE}3 node(s) didn't match pod topology spread constraints."),
    _event("PS243", "FailedCreate", "pods x is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: 8, limited: 8", kind="ReplicaSet"),
    _object("PS243", _deployment("type: Recreate", "conditions: [{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: 'exceeded quota: gpus'}]"), at="exceeded quota"),
    Fault(rule="PS245", fixture=_K, old='running: {startedAt: "2026-11-01T10:00:00Z"}', new="waiting: {reason: CreateContainerConfigError, message: configmap engine-settings not found}", at="CreateContainerConfigError"),
    Fault(rule="PS245", fixture=_K, old="lastState: {}", new="lastState: {terminated: {reason: StartError, exitCode: 128, message: 'nvidia-container-cli: requirement error: unsatisfied condition: cuda>=13.0'}}", at="StartError"),
    Fault(rule="PS246", fixture=_K, old='running: {startedAt: "2026-11-01T10:00:00Z"}', new="waiting: {reason: CreateContainerConfigError, message: secret hf not found}", at="secret hf"),
    _event("PS246", "FailedMount", "MountVolume.SetUp failed for volume token : secret llm-token not found"),
    _object("PS247", _API.format(name="v1.apps", group="apps", version="v1", up=True), at="type: Pods"),
    _object("PS248", _API.format(name="v1beta1.custom.metrics.k8s.io", group="custom.metrics.k8s.io", version="v1beta1", up=False), at="custom.metrics"),
    _object("PS249", _SERVER.format(within=", podMonitorNamespaceSelector: {}"), _MONITOR.format(release="other"), at="engines", also=("PS117",)),
    _object("PS249", _SERVER.format(within=""), _MONITOR.format(release="prom"), at="engines", also=("PS117",)),
    _object("PS250", "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b, namespace: llm}, spec: {minAvailable: 90%, selector: {matchLabels: {app: x}}, unhealthyPodEvictionPolicy: AlwaysAllow}, status: {disruptionsAllowed: 0, currentHealthy: 2, desiredHealthy: 2, expectedPods: 2}}", at="disruptionsAllowed"),
    _object("PS251", _deployment("type: Recreate", "replicas: 1, updatedReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: timed out}]"), at="ProgressDeadlineExceeded"),
    _object("PS252", _deployment("rollingUpdate: {maxSurge: 1, maxUnavailable: 0}", "replicas: 2"), _set("x-1"), _set("x-2"), _made("x-1-a", "x-1", "nodeName: gpu-1, ", "phase: Running"), _made("x-2-b", "x-2", "", "phase: Pending, conditions: [{type: PodScheduled, status: 'False', message: '0/1 nodes are available: 1 Insufficient nvidia.com/gpu.'}]"), at="maxUnavailable", also=("PS203",)),
    Fault(rule="PS253", fixture=_K, old='{type: Ready, status: "True"}', new='{type: Ready, status: "True", lastTransitionTime: "2026-11-01T10:08:20Z"}', more=_PROBED, at="startedAt"),
    Fault(rule="PS254", fixture=_K, old="lastState: {}", new="ready: false\n          lastState: {terminated: {exitCode: 137, reason: Error, startedAt: '2026-11-01T09:49:00Z', finishedAt: '2026-11-01T09:59:25Z'}}", more=_PROBED, at="finishedAt"),
    _object("PS255", _set("x-1"), *(_made(f"x-1-{n}", "x-1", f"nodeName: gpu-{n}, ", "phase: Running", _CLAIMED) for n in (1, 2)), more=(("[ReadWriteMany]", "[ReadWriteOnce]"),), at="accessModes"),
    _object("PS256", _set("x-1"), _SLICED.format(), _SLICE.format(endpoints=""), _made("x-1-a", "x-1", "nodeName: gpu-1, ", _UP), at="front"),
)  # fmt: skip

_TRACE = '(EngineCore) File "/vllm/v1/worker/gpu_worker.py", line 1, in '
_OOM = "(EngineCore) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
LOGS = (
    _log("PS209", "huggingface_hub.errors.HfHubHTTPError: 401 Client Error. Invalid credentials in Authorization header"),
    _log("PS238", "403 Client Error. Cannot access gated repo. Your request to access model x is awaiting a review from the repo authors."),
    _log("PS210", "OSError: llama is not a local folder and is not a valid model identifier listed on the hub"),
    Fault(rule="PS211", fixture=_L, old="INFO 11-20 10:00:31", new=f"{_TRACE}load_model\n{_OOM}\nINFO 11-20 10:00:31", at="CUDA out of memory"),
    _log("PS212", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
    _log("PS213", "ValueError: To serve at least one request with the models's max seq len (131072), 16.0 GiB KV cache is needed, which is larger than the available KV cache memory (8.2 GiB)."),
    _log("PS214", "ValueError: Free memory on device cuda:0 (20.1/79.1 GiB) on startup is less than desired GPU memory utilization (0.92, 72.8 GiB)."),
    Fault(rule="PS215", fixture=_L, old="INFO 11-20 10:00:52", new=f"{_TRACE}determine_available_memory\n{_TRACE}profile_run\n{_OOM}\nINFO 11-20 10:00:52", at="CUDA out of memory"),
    Fault(rule="PS216", fixture=_L, new=f"{_TRACE}execute_model\n{_OOM}\n", at="CUDA out of memory"),
    _log("PS217", "RuntimeError: unable to write to file </torch_123_456>: No space left on device (28)"),
    _log("PS218", "[rank1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1)"),
    _log("PS219", "ValueError: World size (4) is larger than the number of available GPUs (2) in this node."),
    _log("PS220", "vllm serve: error: unrecognized arguments: --disable-log-requests"),
    _log("PS221", "RuntimeError: The NVIDIA driver on your system is too old (found version 12040)."),
    _log("PS229", "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0."),
    _log("PS233", "kernel: NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus."),
    _log("PS234", "RuntimeError: No CUDA GPUs are available"),
    _log("PS237", "OSError: [Errno 28] No space left on device: '/models/x'"),
    _log("PS239", "ValueError: The repository contains custom code which must be executed to correctly load the model."),
    _log("PS240", "llama  Deployment/llama  <unknown>/5  1  8  1  3d"),
)  # fmt: skip

FLEET = (Fault(rule="PS152", fixture="fleet.yaml", old="replicas: 2", new="replica: 2", at="replica: 2"),)

ALL = (
    *FLEET,
    *CLAIMS, *CLUSTER, *COMMANDS, *FLAGS, *LIVE, *LOGS, *MEMORY, *METRICS, *NETWORK, *PLACEMENT, *PROBES, *ROLLOUT, *SCALING,
    *STORAGE,
)  # fmt: skip
