{{/* The pod, of the Deployment or of the shards' StatefulSet. */}}
{{- define "seasalt-exporter.pod" -}}
{{- $v := .Values }}
{{- $state := and $v.state.enabled (not $v.demo.enabled) }}
{{- $keys := include "seasalt-exporter.apiKeysSecret" . }}
{{- $pod := fromYaml (include "seasalt-exporter.metadata" (list . "" $v.podLabels $v.podAnnotations "")) }}
{{- $_ := unset $pod.labels "helm.sh/chart" }}  {{- /* a new chart with the same pod is no reason for a restart */}}
{{- $annotations := default (dict) $pod.annotations }}
{{- if not $v.hotReload }}
{{- $_ := set $annotations "checksum/config" (toJson $v.config | sha256sum) }}
{{- end }}
{{- if and $v.apiKeys.environment $v.apiKeys.values }}
{{- $_ := set $annotations "checksum/api-keys" (toJson $v.apiKeys.values | sha256sum) }}
{{- end }}
metadata:
  labels:
    {{- mergeOverwrite $pod.labels (fromYaml (include "seasalt-exporter.podLabels" .)) | toYaml | nindent 4 }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "seasalt-exporter.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "seasalt-exporter.present" $v.podSecurityContext | nindent 4 }}
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $v.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: exporter
      {{- with $v.image }}
      image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
      imagePullPolicy: {{ .pullPolicy }}
      {{- end }}
      args:
        - {{ ternary "demo" "serve" $v.demo.enabled }}
        - --web.listen-address=:{{ $v.web.port }}
        {{- if $v.demo.enabled }}
        - --bots={{ $v.demo.bots }}
        {{- if $v.demo.trouble }}
        - --trouble
        {{- end }}
        {{- else }}
        - --config.file=/etc/seasalt-exporter/seasalt.yml
        {{- if $v.hotReload }}
        - --config.enable-auto-reload
        {{- end }}
        {{- end }}
        {{- if gt (int $v.shards.count) 1 }}
        - --shard=$(POD_INDEX)/{{ $v.shards.count }}
        {{- end }}
        {{- if $state }}
        - --state.file=/var/lib/seasalt-exporter/state
        {{- end }}
        {{- with $v.web.configSecret }}
        - --web.config.file=/etc/seasalt-exporter-web/web.yml
        {{- end }}
        - --web.telemetry-path={{ $v.web.telemetryPath }}
        {{- with $v.web.externalUrl }}
        - --web.external-url={{ . }}
        {{- end }}
        {{- with $v.web.routePrefix }}
        - --web.route-prefix={{ . }}
        {{- end }}
        {{- with $v.links.grafana }}
        - --web.grafana-url={{ . }}
        {{- end }}
        {{- with $v.links.runbooks }}
        - --web.runbooks-url={{ . }}
        {{- end }}
        - --log.level={{ $v.log.level }}
        - --log.format={{ $v.log.format }}
        {{- with $v.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or (gt (int $v.shards.count) 1) $v.extraEnv }}
      env:
        {{- if gt (int $v.shards.count) 1 }}
        - name: POD_INDEX
          valueFrom:
            fieldRef:
              fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
        {{- end }}
        {{- with $v.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- if or (and $keys $v.apiKeys.environment) $v.extraEnvFrom }}
      envFrom:
        {{- if and $keys $v.apiKeys.environment }}
        - secretRef:
            name: {{ $keys }}
        {{- end }}
        {{- with $v.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ $v.web.port }}
          protocol: TCP
      {{- with $v.startupProbe }}
      startupProbe:
        {{- include "seasalt-exporter.probe" (list $ . "/-/healthy") | trim | nindent 8 }}
      {{- end }}
      {{- with $v.livenessProbe }}
      livenessProbe:
        {{- include "seasalt-exporter.probe" (list $ . "/-/healthy") | trim | nindent 8 }}
      {{- end }}
      {{- with $v.readinessProbe }}
      readinessProbe:
        {{- include "seasalt-exporter.probe" (list $ . "/-/ready") | trim | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "seasalt-exporter.present" $v.securityContext | nindent 8 }}
      {{- with $v.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if not $v.demo.enabled }}
        # The folder, not the file: the kubelet does not update a file that is mounted by itself.
        - name: config
          mountPath: /etc/seasalt-exporter
          readOnly: true
        {{- end }}
        {{- if and $keys $v.apiKeys.mountPath }}
        - name: api-keys
          mountPath: {{ $v.apiKeys.mountPath }}
          readOnly: true
        {{- end }}
        {{- if $v.web.configSecret }}
        - name: web-config
          mountPath: /etc/seasalt-exporter-web
          readOnly: true
        {{- end }}
        {{- if $state }}
        - name: state
          mountPath: /var/lib/seasalt-exporter
        {{- end }}
        {{- with $v.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with $v.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if not $v.demo.enabled }}
    - name: config
      configMap:
        name: {{ default (include "seasalt-exporter.fullname" .) $v.existingConfigMap }}
    {{- end }}
    {{- if and $keys $v.apiKeys.mountPath }}
    - name: api-keys
      secret:
        secretName: {{ $keys }}
    {{- end }}
    {{- with $v.web.configSecret }}
    - name: web-config
      secret:
        secretName: {{ . }}
    {{- end }}
    {{- if and $state (not (and $v.state.persistence.enabled (gt (int $v.shards.count) 1))) }}
    - name: state
      {{- if $v.state.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ default (include "seasalt-exporter.fullname" .) $v.state.persistence.existingClaim }}
      {{- else }}
      emptyDir:
        {{- include "seasalt-exporter.present" $v.state.emptyDir | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with $v.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
