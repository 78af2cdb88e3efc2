"""Checks a manifest of `anaume launch kubernetes`: its pods against Kubernetes' own schema, the rest against the API of the MPI
operator (kubeflow.org/v2beta1). Prints replicas and script of each role as JSON."""

import json
import sys

import kubernetes_validate
import yaml

[job] = yaml.safe_load_all(open(sys.argv[1], encoding="utf-8"))
assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
assert set(job) == {"apiVersion", "kind", "metadata", "spec"}
assert set(job["spec"]) <= {"slotsPerWorker", "runPolicy", "mpiReplicaSpecs", "sshAuthMountPath", "launcherCreationPolicy", "mpiImplementation"}
assert isinstance(job["spec"]["slotsPerWorker"], int)
assert set(job["spec"]["runPolicy"]) <= {
    "cleanPodPolicy", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit", "schedulingPolicy", "suspend", "managedBy"
}
roles = {}
for role, replica in job["spec"]["mpiReplicaSpecs"].items():
    assert role in ("Launcher", "Worker") and set(replica) <= {"replicas", "template", "restartPolicy"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **replica["template"]}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version().rsplit(".", 1)[0], strict=True)
    command = pod["spec"]["containers"][0].get("command", [None])
    roles[role] = {"replicas": replica["replicas"], "script": command[-1]}
print(json.dumps(roles))
