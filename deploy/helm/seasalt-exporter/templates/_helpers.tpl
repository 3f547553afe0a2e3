{{/* Names. */}}
{{- define "seasalt-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "seasalt-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "seasalt-exporter.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "seasalt-exporter.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "seasalt-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "seasalt-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "seasalt-exporter.apiKeysSecret" -}}
{{- if .Values.apiKeys.existingSecret }}
{{- .Values.apiKeys.existingSecret }}
{{- else if .Values.apiKeys.values }}
{{- printf "%s-api-keys" (include "seasalt-exporter.fullname" .) }}
{{- end }}
{{- end }}

{{/* Labels that select the pods. They never change, as a Deployment's selector cannot. */}}
{{- define "seasalt-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "seasalt-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The name of the shards' StatefulSet and of its Service. With an ordinal and a revision, it fits into a label. */}}
{{- define "seasalt-exporter.shards" -}}
{{- printf "%s-shards" (include "seasalt-exporter.fullname" . | trunc 42 | trimSuffix "-") }}
{{- end }}

{{/* Labels of the pods: those that select them, and how many shards there are, if there are several. */}}
{{- define "seasalt-exporter.podLabels" -}}
{{- include "seasalt-exporter.selectorLabels" . }}
{{- if gt (int .Values.shards.count) 1 }}
app.kubernetes.io/component: shard-of-{{ .Values.shards.count }}
{{- end }}
{{- end }}

{{/*
The metadata of an object: a list of the root context, the name, the object's own labels and annotations, and its
namespace. The chart's labels win, so that no value breaks a selector.
*/}}
{{- define "seasalt-exporter.metadata" -}}
{{- $root := index . 0 }}
{{- $labels := fromYaml (include "seasalt-exporter.selectorLabels" $root) }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $labels "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63) }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
name: {{ index . 1 }}
namespace: {{ default $root.Release.Namespace (index . 4) }}
labels:
  {{- mergeOverwrite (dict) $root.Values.commonLabels (index . 2) $labels | toYaml | nindent 2 }}
{{- with mergeOverwrite (dict) $root.Values.commonAnnotations (index . 3) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What all paths begin with, as the exporter derives it from its flags: decoded, as kubelet and Prometheus encode it. */}}
{{- define "seasalt-exporter.prefix" -}}
{{- $prefix := (urlParse (default .Values.web.externalUrl .Values.web.routePrefix)).path | trimAll "/" }}
{{- if $prefix }}/{{ $prefix }}{{ end }}
{{- end }}

{{/* A probe: a list of the root context, the probe's values, and the path that it asks. */}}
{{- define "seasalt-exporter.probe" -}}
{{- $root := index . 0 }}
{{- $probe := index . 1 }}
{{- if not (or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc) }}
{{- if $root.Values.web.configSecret }}
exec:
  command: [python, -m, exporter, health]
{{- else }}
httpGet:
  path: {{ include "seasalt-exporter.prefix" $root }}{{ index . 2 }}
  port: http
{{- end }}
{{- end }}
{{- range $field, $value := $probe }}
{{- if ne $value nil }}
{{ dict $field $value | toYaml }}
{{- end }}
{{- end }}
{{- end }}

{{/* A map without the fields that are null. */}}
{{- define "seasalt-exporter.present" -}}
{{- $found := dict }}
{{- range $field, $value := . }}
{{- if ne $value nil }}{{- $_ := set $found $field $value }}{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{/* The object of this release in the cluster whose pods are of another count; nothing where Helm cannot ask. */}}
{{- define "seasalt-exporter.otherCount" -}}
{{- $count := int .Values.shards.count }}
{{- $set := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "seasalt-exporter.shards" .) }}
{{- $deployment := lookup "apps/v1" "Deployment" .Release.Namespace (include "seasalt-exporter.fullname" .) }}
{{- if and $set (or (eq $count 1) (ne (get $set.spec.selector.matchLabels "app.kubernetes.io/component") (printf "shard-of-%d" $count))) -}}
statefulset {{ $set.metadata.name }}
{{- else if and $deployment (gt $count 1) -}}
deployment {{ $deployment.metadata.name }}
{{- end }}
{{- end }}

{{/*
Mistakes in the values that the schema cannot see, all at once. A value is never part of a message: it may be a key.
*/}}
{{- define "seasalt-exporter.mistakes" -}}
{{- $mistakes := list }}
{{- $v := .Values }}
{{- if $v.demo.enabled }}
{{- if or $v.config $v.existingConfigMap }}
{{- $mistakes = append $mistakes "demo.enabled: the demo has a configuration of its own; leave out config and existingConfigMap" }}
{{- end }}
{{- else if and $v.config $v.existingConfigMap }}
{{- $mistakes = append $mistakes "existingConfigMap: leave out config, or the other way round" }}
{{- else if not (or $v.config $v.existingConfigMap) }}
{{- $mistakes = append $mistakes "config: nothing to poll; write a configuration, name an existingConfigMap, or set demo.enabled=true" }}
{{- end }}
{{- if and $v.apiKeys.existingSecret $v.apiKeys.values }}
{{- $mistakes = append $mistakes "apiKeys.values: leave out existingSecret, or the other way round" }}
{{- end }}
{{- if gt (int $v.shards.count) 1 }}
{{- if $v.demo.enabled }}
{{- $mistakes = append $mistakes "shards.count: the demo is one pod" }}
{{- end }}
{{- if $v.state.persistence.existingClaim }}
{{- $mistakes = append $mistakes "state.persistence.existingClaim: each shard has a claim of its own; leave it out" }}
{{- end }}
{{- if or (ne $v.service.type "ClusterIP") $v.service.clusterIP $v.service.nodePort }}
{{- $mistakes = append $mistakes "service: that of shards is headless; leave out type, clusterIP and nodePort" }}
{{- end }}
{{- if semverCompare "<1.28-0" .Capabilities.KubeVersion.Version }}
{{- $mistakes = append $mistakes "shards.count: a pod knows its index from Kubernetes 1.28 on" }}
{{- end }}
{{- end }}
{{- with include "seasalt-exporter.otherCount" . }}
{{- $mistakes = append $mistakes (printf "shards.count: pods of another count are there, and both at once would poll bots twice; end them, wait, and try again: kubectl -n %s delete %s --cascade=foreground" $.Release.Namespace .) }}
{{- end }}
{{- range $number, $workspace := $v.config.workspaces }}
{{- range $field := list "api_key" "bots_api_key" }}
{{- if kindIs "map" $workspace }}
{{- with get $workspace $field }}
{{- if not (regexMatch "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" (toString .)) }}
{{- $mistakes = append $mistakes (printf "config.workspaces[%d].%s: a key must not be in a ConfigMap; write ${NAME} with apiKeys.environment=true, or %s_file" $number $field $field) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- $http := list (get $v.config "http") }}
{{- range $workspace := $v.config.workspaces }}
{{- if kindIs "map" $workspace }}{{- $http = append $http (get $workspace "http") }}{{- end }}
{{- end }}
{{- range $http }}
{{- if kindIs "map" . }}
{{- if regexMatch "//[^/$]*:[^/$]*@" (toString (get . "proxy_url")) }}
{{- $mistakes = append $mistakes "config: the password in an http.proxy_url must not be in a ConfigMap; write ${NAME} for it" }}
{{- end }}
{{- end }}
{{- end }}
{{- if $mistakes }}
{{- fail (printf "\n%s" (join "\n" $mistakes)) }}
{{- end }}
{{- end }}
