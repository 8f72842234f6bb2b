{{- define "millrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Short enough that "-NNN" and "-mesh" can follow. */}}
{{- define "millrace.fullname" -}}
{{- $name := include "millrace.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "millrace.mesh" -}}
{{ include "millrace.fullname" . }}-mesh
{{- end }}

{{- define "millrace.selector" -}}
app.kubernetes.io/name: {{ include "millrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "millrace.labels" -}}
{{ include "millrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "millrace.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "millrace.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "millrace.hosts" -}}
{{- range $process := until (int .Values.processes) }}
{{ include "millrace.fullname" $ }}-{{ $process }}.{{ include "millrace.mesh" $ }}.{{ $.Release.Namespace }}.svc.{{ $.Values.clusterDomain }}:{{ $.Values.ports.mesh }}
{{- end }}
{{- end }}

{{/* The job of the metrics, one a cluster: the alerts know it by the word in it. */}}
{{- define "millrace.job" -}}
{{- $name := include "millrace.fullname" . }}
{{- if contains "millrace" $name }}{{ $name }}{{ else }}{{ $name }}-millrace{{ end }}
{{- end }}

{{/* What cannot run is refused before it is installed. */}}
{{- define "millrace.check" -}}
{{- if not .Values.lake.url }}
{{- fail "lake.url is needed: s3://bucket/prefix, or a folder below /data with lake.claim" }}
{{- end }}
{{- if and (not (hasPrefix "s3://" .Values.lake.url)) (not .Values.lake.claim) }}
{{- fail "lake.url is a folder: name the claim that all pods can write (lake.claim)" }}
{{- end }}
{{- if and .Values.lake.claim (hasPrefix "s3://" .Values.lake.url) }}
{{- fail "lake.claim is for a lake in a folder, and lake.url is in S3" }}
{{- end }}
{{- if and .Values.lake.claim (not (hasPrefix "/data/" .Values.lake.url)) }}
{{- fail "lake.url must lie below /data/, where lake.claim is mounted" }}
{{- end }}
{{- if and .Values.secrets.clientCertificates (not .Values.secrets.tls) }}
{{- fail "secrets.clientCertificates needs secrets.tls" }}
{{- end }}
{{- end }}
