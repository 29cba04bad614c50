"""Checks manifests against Kubernetes's OpenAPI and the CRDs of a folder, unknown fields refused.

    python -m test.infra.cluster.schemas VERSION CRDS FILE...     (CRDS may be missing: "-")

One line for each breach, then one with the count of objects checked by each.
"""

import re
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml


def main() -> None:
    version, folder, *files = sys.argv[1:]
    schemas = read_definitions(Path(folder)) if folder != "-" else {}
    counts = {"kubernetes": 0, "definitions": 0, "unchecked": 0}
    breaches = 0
    for file in files:
        for manifest in yaml.safe_load_all(Path(file).read_text()):
            name = f"{manifest['apiVersion']} {manifest['kind']} {manifest['metadata']['name']}"
            kind = (manifest["apiVersion"], manifest["kind"])
            try:
                if re.fullmatch(r"(v1|[a-z]+/.*|(?!kops)[a-z.]+\.k8s\.io/.*)", kind[0]):
                    kubernetes_validate.validate(manifest, version, strict=True)
                    counts["kubernetes"] += 1
                elif kind in schemas:
                    jsonschema.Draft202012Validator(schemas[kind]).validate(manifest)
                    counts["definitions"] += 1
                else:
                    counts["unchecked"] += 1
            except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
                breaches += 1
                print(f"{name}: {error.message}")
    print(" ".join(f"{count} {what}" for what, count in counts.items()))
    sys.exit(1 if breaches else 0)


def read_definitions(folder: Path) -> dict[tuple[str, str], dict]:
    """The schema of each kind and version, closed to unknown fields."""
    schemas = {}
    for path in sorted(folder.glob("*.yaml")):
        for definition in yaml.safe_load_all(path.read_text()):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = close(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return schemas


def close(schema: dict) -> dict:
    """Kubernetes's dialect in JSON schema's words, with unknown fields refused where the schema names any."""
    closed = dict(schema)
    if closed.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in closed:
        closed["properties"] = {name: close(one) for name, one in closed["properties"].items()}
        if not closed.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    if isinstance(closed.get("additionalProperties"), dict):
        closed["additionalProperties"] = close(closed["additionalProperties"])
    if isinstance(closed.get("items"), dict):
        closed["items"] = close(closed["items"])
    if not re.fullmatch(r"int32|int64|date-time|byte|", closed.get("format", "")):
        closed.pop("format")
    return closed


if __name__ == "__main__":
    main()
