#!/bin/sh
# render.sh IMAGE FOLDER: install.yaml (one Pod) and install-ha.yaml, each one file for `kubectl apply -f`, with that image
# (name:tag or name@sha256:digest).
set -eu
image=$1 folder=$2
here=$(cd "$(dirname "$0")" && pwd)
kubectl=${KUBECTL:-kubectl}
mkdir -p "$folder"
case $image in
  *@*) name=${image%%@*} version="digest: \"${image#*@}\"" ;;
  *) name=${image%:*} version="newTag: \"${image##*:}\"" ;;
esac
scratch=$(mktemp -d "$here/.render.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
for overlay in single ha; do
  cat >"$scratch/kustomization.yaml" <<X
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/$overlay]
images: [{name: orchestrator, newName: "$name", $version}]
X
  suffix=
  [ "$overlay" = single ] || suffix=-$overlay
  "$kubectl" kustomize "$scratch" >"$folder/install$suffix.yaml"
done
